"""Keeps the pull credentials of app namespaces valid."""
