"""All SQL of this service."""
