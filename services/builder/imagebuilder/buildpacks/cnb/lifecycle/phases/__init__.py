"""The phases of a buildpack build: analyze, detect, restore, build, export.

They speak the platform interface of Cloud Native Buildpacks (platform API 0.12: names, flags, files, exit codes) as far
as our buildpacks and the builder need it, so that another implementation of it can stand in their place. They are not
the published lifecycle. Not there: `creator`, `extender`, `rebaser`, build plans, extensions, SBOMs, slices, `exec.d`,
`profile.d`, composite buildpacks, layouts and daemons.
"""
