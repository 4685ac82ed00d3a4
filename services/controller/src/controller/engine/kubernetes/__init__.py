"""Runs apps on a Kubernetes cluster."""
