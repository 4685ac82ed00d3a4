"""The HTTP side of this service."""
