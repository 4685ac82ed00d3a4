"""Tables of the builder."""
