"""Probes and lifecycle handlers of a container."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, Final

from controller.domain.config_values import DEFAULT_PORT
from controller.domain.spec import Probe, ProcessSpec
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import MOST_INT32, Manifest, plain, present, whole_seconds
from controller.engine.kubernetes.manifests.handlers import PROBES

_HANDLERS: Final = ("exec", "httpGet", "tcpSocket", "grpc")


def probes_of(process: ProcessSpec) -> Manifest:
    """The probes as they were configured; what must listen is asked whether it does where nothing else is said.

    The reference asks every 5 s and for the first time after 5 s; once a second finds an app ready as soon as it is.
    """
    probes = _configured(process) if process.healthcheck else _from_spec(process)
    if process.must_listen and "readinessProbe" not in probes:
        probes["readinessProbe"] = {
            "tcpSocket": {"port": process.port or DEFAULT_PORT},
            "periodSeconds": 1,
            "timeoutSeconds": 5,
            "failureThreshold": 3,
        }
    return probes


def lifecycle_of(process: ProcessSpec, config: KubernetesConfig) -> Manifest:
    """The handlers that the app has, and a pause before SIGTERM for what takes requests: they stop coming in only when
    the whole cluster knows that the pod goes."""
    pre_stop = process.pre_stop
    if pre_stop is None and process.must_listen:
        # Half of the grace period stays for the app itself.
        pause = min(config.drain_delay, process.grace_period / 2) // timedelta(seconds=1)
        pre_stop = {"sleep": {"seconds": pause}} if pause > 0 else None
    return present({"postStart": plain(process.post_start), "preStop": plain(pre_stop)})


def _configured(process: ProcessSpec) -> Manifest:
    """Word for word, those that ask something."""
    probes = {kind: plain(process.healthcheck.get(kind)) for kind in PROBES}
    return {kind: probe for kind, probe in probes.items() if probe and any(handler in probe for handler in _HANDLERS)}


def _from_spec(process: ProcessSpec) -> Manifest:
    probes = {"readinessProbe": process.readiness, "livenessProbe": process.liveness}
    return {kind: _probe(probe, process) for kind, probe in probes.items() if probe is not None}


def _probe(probe: Probe, process: ProcessSpec) -> Manifest:
    times = {
        "initialDelaySeconds": whole_seconds(probe.initial_delay) or None,
        "periodSeconds": whole_seconds(probe.period, least=1),
        "timeoutSeconds": whole_seconds(probe.timeout, least=1),
        "failureThreshold": min(max(probe.failure_threshold, 1), MOST_INT32),
    }
    return {**_handler(probe, probe.port or process.port or DEFAULT_PORT), **present(times)}


def _handler(probe: Probe, port: int) -> dict[str, Any]:
    if probe.kind == "exec":
        return {"exec": {"command": list(probe.command)}}
    if probe.kind == "tcp":
        return {"tcpSocket": {"port": port}}
    headers = [{"name": name, "value": text} for name, text in probe.headers]
    return {"httpGet": present({"path": probe.path, "port": port, "httpHeaders": headers})}
