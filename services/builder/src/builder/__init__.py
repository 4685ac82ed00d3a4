"""Git over SSH and builds of Workflow."""
