"""The HTTP interface of the builder."""
