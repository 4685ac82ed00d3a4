"""Use cases of passport."""
