"""Delivers the deploy hooks of Workflow."""
