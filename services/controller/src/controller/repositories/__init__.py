"""All SQL of the controller. Rows come in and go out as domain values; only "not found" and "conflict" are raised."""
