"""Where apps run: the port and its adapters."""
