"""Builds as Jobs of a Kubernetes cluster."""
