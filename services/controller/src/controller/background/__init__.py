"""What runs beside the API: the reconciler and the consumers of events."""
