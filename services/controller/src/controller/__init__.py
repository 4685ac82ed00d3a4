"""REST API, releases and the engine of Workflow."""
