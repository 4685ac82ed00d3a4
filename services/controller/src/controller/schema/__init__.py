"""Tables. Rows never leave `repositories`."""
