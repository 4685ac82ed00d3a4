"""The metrics of this process: one registry. Where services share a process, the `service` label tells them apart."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

# It would add a second series to each counter that nobody reads.
disable_created_metrics()  # type: ignore[no-untyped-call]  # the library's own gap
REGISTRY = CollectorRegistry(auto_describe=True)
ProcessCollector(registry=REGISTRY)

HTTP_REQUESTS = Counter(
    "workflow_http_requests",
    "HTTP requests answered.",
    ["service", "method", "route", "status"],
    registry=REGISTRY,
)
HTTP_SECONDS = Histogram(
    "workflow_http_request_seconds",
    "Time from the first byte of a request to the last byte of its answer.",
    ["service", "route"],
    registry=REGISTRY,
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10),
)
EVENTS_PUBLISHED = Counter(
    "workflow_outbox_published", "Events handed to the bus by the relay.", ["source"], registry=REGISTRY
)
EVENTS_FAILED = Counter(
    "workflow_outbox_failed", "Attempts to publish an event that failed.", ["source"], registry=REGISTRY
)
EVENTS_DEAD = Counter("workflow_outbox_dead", "Events parked after too many attempts.", ["source"], registry=REGISTRY)
EVENTS_HANDLED = Counter(
    "workflow_bus_handled",
    "Events that a consumer handled.",
    ["consumer", "outcome"],
    registry=REGISTRY,
)
TASK_RESTARTS = Counter(
    "workflow_task_restarts", "Background loops that died and were started again.", ["task"], registry=REGISTRY
)


def render() -> tuple[bytes, str]:
    """Everything measured so far in the text format of Prometheus, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
