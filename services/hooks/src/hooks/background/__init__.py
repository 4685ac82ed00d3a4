"""What runs beside the API: the consumer of releases and the sender."""
