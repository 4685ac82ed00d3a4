"""Tables of the database `hooks`."""

from hooks.schema.tables import deliveries, inbox, metadata

__all__ = ["deliveries", "inbox", "metadata"]
