"""Event consumers and work that nobody waits for."""
