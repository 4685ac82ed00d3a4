"""Builds one image of one app: runs inside the pod of a build, needs the standard library only."""
