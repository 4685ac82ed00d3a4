"""The API server of a Kubernetes: one client for every service that needs one."""
