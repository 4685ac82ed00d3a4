"""Workflow on one machine: workflow up."""
