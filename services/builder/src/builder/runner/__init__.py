"""Build runners: the port and its adapters."""
