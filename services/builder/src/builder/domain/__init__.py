"""Pure rules and values of the builder."""
