"""The phases of a buildpack build: analyze, detect, restore, build, export.

They speak the platform interface of Cloud Native Buildpacks (platform API 0.12: names, flags, files, exit codes) as far
as our buildpacks and the builder need it, so that another implementation of it can stand in their place. They are not
the published lifecycle. Not there: `creator`, `extender`, `rebaser`, build plans, extensions, SBOMs, slices, `exec.d`,
`profile.d`, composite buildpacks, labels and variables of single processes, `store.toml`, layouts and daemons.

With a builder image of the app's choice `detect` and `build` are that image's own programs; what they leave is read
here as the words of strangers.
"""
