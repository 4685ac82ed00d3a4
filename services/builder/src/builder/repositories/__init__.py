"""All SQL of the builder."""
