"""Loops that run beside the API."""
