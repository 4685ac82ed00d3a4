"""What the builder counts, in the registry of the process."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

from shared.metrics import REGISTRY

PUSHES = Gauge("workflow_builder_pushes", "Pushes under way.", registry=REGISTRY)
BUILDS = Counter("workflow_builder_builds", "Builds that ended.", ["state", "code"], registry=REGISTRY)
BUILD_SECONDS = Histogram(
    "workflow_builder_build_seconds",
    "Time that a build ran, from its slot to its result.",
    registry=REGISTRY,
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
)
LOGINS_REFUSED = Counter(
    "workflow_builder_logins_refused", "SSH connections or keys turned away.", ["reason"], registry=REGISTRY
)
