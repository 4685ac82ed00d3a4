"""Measurements of this service."""

from __future__ import annotations

from prometheus_client import Counter

from shared.metrics import REGISTRY

ATTEMPTS = Counter("workflow_hooks_attempts", "Attempts to deliver a deploy hook.", ["outcome"], registry=REGISTRY)
