"""The probes of a config (Kubernetes' form) as probes of a process."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from controller.domain.spec import Probe

# Whatever is multiplied and added up from these can still be added to any date.
_MOST_SECONDS, _MOST_TRIES = 10**6, 10**4


def readiness_of(healthcheck: Mapping[str, Any]) -> Probe | None:
    """When an instance takes requests. A startup probe only gives it more time to get there."""
    startup = _probe(healthcheck.get("startupProbe"))
    readiness = _probe(healthcheck.get("readinessProbe"))
    if startup is None or readiness is None:
        return readiness or startup
    extra = math.ceil(startup.budget / (readiness.period + readiness.timeout))
    return replace(readiness, failure_threshold=readiness.failure_threshold + extra)


def liveness_of(healthcheck: Mapping[str, Any]) -> Probe | None:
    """When an instance is beyond hope. It is not asked before a startup probe would have given up."""
    liveness = _probe(healthcheck.get("livenessProbe"))
    startup = _probe(healthcheck.get("startupProbe"))
    if liveness is None or startup is None:
        return liveness
    return replace(liveness, initial_delay=max(liveness.initial_delay, startup.budget))


def probe_of(healthcheck: Mapping[str, Any], name: str) -> Probe | None:
    """One probe as it is configured, under Kubernetes' name (`startupProbe`), with its defaults filled in."""
    return _probe(healthcheck.get(name))


def _probe(spec: Mapping[str, Any] | None) -> Probe | None:
    if not spec:
        return None
    times: dict[str, Any] = {
        "initial_delay": _seconds(spec.get("initialDelaySeconds", 0)),
        "period": _seconds(spec.get("periodSeconds", 10)),
        "timeout": _seconds(spec.get("timeoutSeconds", 1)),
        "failure_threshold": min(spec.get("failureThreshold", 3), _MOST_TRIES),
    }
    if (http := spec.get("httpGet")) is not None:
        headers = tuple((header["name"], header["value"]) for header in http.get("httpHeaders", ()))
        path = http.get("path", "/")
        return Probe("http", http["port"], path, headers, **times)
    if (command := spec.get("exec")) is not None:
        return Probe("exec", command=tuple(command["command"]), **times)
    if (tcp := spec.get("tcpSocket")) is not None:
        return Probe("tcp", tcp["port"], **times)
    return None


def _seconds(value: float) -> timedelta:
    return timedelta(seconds=min(value, _MOST_SECONDS))
