"""What a delivery is, how it is addressed, signed and retried. Standard library and `shared.errors` only."""
