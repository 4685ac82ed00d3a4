"""What runs, as the JSON that clients know. Released clients count on these types: see the contract, section 6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from controller.api import documents_processes as documents
from controller.api.present import instant, timestamp
from controller.domain.probes import probe_of
from controller.domain.releases import Release
from controller.domain.rollouts import failure_text
from controller.domain.spec import EngineEvent, Failure, InstanceState, Probe, ProcessSpec
from controller.services.processes import PtypeDetail, PtypeView

_ENDED = ("down", "crashed", "destroyed", "error")


def newest_first(instances: Iterable[InstanceState]) -> list[InstanceState]:
    """Instances by start, those that have not started first."""
    return sorted(instances, key=lambda each: each.started_at or datetime.max.replace(tzinfo=UTC), reverse=True)


def pod(instance: InstanceState) -> documents.PodDocument:
    """An instance as lists show it."""
    return {
        "name": instance.name,
        "state": instance.state,
        "release": f"v{instance.release}",
        "type": instance.ptype,
        "started": instant(instance.started_at or datetime.now(UTC)),
        "ready": "1/1" if instance.ready else "0/1",
        "restarts": instance.restarts,
    }


def pod_container(
    app: str, instance: InstanceState, spec: ProcessSpec | None, failure: str
) -> documents.PodContainerDocument:
    """An instance in detail. `spec` is None for one-offs and for types that are not deployed any more."""
    ended = instance.state in _ENDED
    return {
        "container": f"{app}-{instance.ptype}",
        "image": spec.image if spec else "",
        "command": list(spec.command) if spec else [],
        "args": _args(spec) if spec else [],
        "state": _state(instance),
        "lastState": {},
        "ready": instance.ready,
        "restartCount": instance.restarts,
        "status": {"up": "Running", "crashed": "Failed", "down": "Succeeded"}.get(instance.state, "Pending"),
        "reason": instance.state if ended else "",
        "message": failure,
    }


def ptype(view: PtypeView) -> documents.PtypeDocument:
    """A process type as lists show it."""
    return {
        "name": view.name,
        "release": f"v{view.release}",
        "ready": f"{view.ready}/{view.desired}",
        "garbage": view.garbage,
        "up_to_date": view.up_to_date,
        "available_replicas": view.ready,
        "started": instant(view.started),
    }


def ptype_container(app: str, detail: PtypeDetail) -> documents.PtypeContainerDocument:
    """A process type in detail. Probes are shown as they are configured, not as the engine combines them."""
    spec, plan = detail.spec, detail.plan
    return {
        "container": f"{app}-{spec.ptype}",
        "image": spec.image,
        "command": list(spec.command),
        "args": _args(spec),
        "startup_probe": _probe(probe_of(detail.healthcheck, "startupProbe")),
        "liveness_probe": _probe(probe_of(detail.healthcheck, "livenessProbe")),
        "readiness_probe": _probe(probe_of(detail.healthcheck, "readinessProbe")),
        "limits": {name: str(amount) for name, amount in plan.limits.items()},
        "volume_mounts": [{"name": mount.volume, "mountPath": mount.path} for mount in spec.mounts],
        "node_selector": {**plan.node_selector, **spec.tags},
    }


def pod_events(
    instance: InstanceState, failure: str, noted: Sequence[EngineEvent] = ()
) -> list[documents.EventDocument]:
    """What is known to have happened to an instance, the oldest first: what the engine has `noted`, or else what can be
    told from how it is now."""
    if noted:
        return [_noted(event) for event in noted]
    events: list[documents.EventDocument] = []
    if instance.started_at is not None:
        created = instant(instance.started_at)
        text = f"{instance.ptype} of v{instance.release} started"
        events.append({"reason": "Started", "message": text, "created": created})
        if instance.restarts:
            text = f"started again {instance.restarts} times after it had ended"
            events.append({"reason": "BackOff", "message": text, "created": created})
    if failure:
        now = instant(instance.started_at or datetime.now(UTC))
        events.append({"reason": "Failed", "message": failure, "created": now})
    return events


def ptype_events(
    name: str,
    releases: Iterable[Release],
    failure: Failure | None,
    instances: Iterable[InstanceState],
    noted: Iterable[EngineEvent] = (),
) -> list[documents.EventDocument]:
    """The ends of the rollouts that moved a process type and what the engine has `noted` of it, the oldest first; then
    why it fails now, which a restart may have brought about as well."""
    found: list[tuple[str, documents.EventDocument]] = []
    for release in sorted(releases, key=lambda each: each.version):  # of one second, the older first
        for condition in reversed(release.conditions):
            ptypes, created = condition.get("ptypes"), str(condition.get("created"))
            if isinstance(ptypes, list) and name in ptypes:
                found.append((created, _ptype_event(release, condition, created)))
    last = sorted(found, key=lambda pair: pair[0])[-1][1]["message"] if found else ""  # of one second, the newer
    found += [(instant(event.at), _noted(event)) for event in noted]
    events = [event for _, event in sorted(found, key=lambda pair: pair[0])]
    if failure is not None and failure.message not in last:
        starts = [each.started_at for each in instances if each.ptype == name and each.started_at is not None]
        created = instant(max(starts, default=datetime.now(UTC)))
        events.append({"reason": failure.code, "message": failure_text(failure), "created": created})
    return events


def _noted(event: EngineEvent) -> documents.EventDocument:
    return {"reason": event.reason, "message": event.message, "created": instant(event.at)}


def _ptype_event(release: Release, condition: Mapping[str, object], created: str) -> documents.EventDocument:
    failure = condition.get("failure")
    reason = failure.get("code") if isinstance(failure, Mapping) else None
    succeeded = condition.get("state") == "succeed"
    text = f"v{release.version} is rolled out" if succeeded else str(condition.get("exception") or "")
    names = {"succeed": "Deployed", "superseded": "Superseded"}
    return {
        "reason": str(reason or names.get(str(condition.get("state")), "Failed")),
        "message": text,
        "created": created,
    }


def _args(spec: ProcessSpec) -> list[str]:
    return [spec.shell] if spec.shell is not None else list(spec.args)


def _state(instance: InstanceState) -> documents.ContainerState:
    if instance.state in _ENDED:
        return {"terminated": {"exitCode": instance.exit_code or 0, "startedAt": timestamp(instance.started_at)}}
    if instance.state in ("up", "terminating"):
        return {"running": {"startedAt": timestamp(instance.started_at)}}
    return {"waiting": {"reason": instance.state}}


def _probe(probe: Probe | None) -> documents.ProbeDocument:
    if probe is None:
        return {}
    return {
        **_action(probe),
        "initialDelaySeconds": int(probe.initial_delay.total_seconds()),
        "timeoutSeconds": max(1, round(probe.timeout.total_seconds())),
        "periodSeconds": max(1, round(probe.period.total_seconds())),
        "successThreshold": 1,
        "failureThreshold": probe.failure_threshold,
    }


def _action(probe: Probe) -> documents.ProbeDocument:
    if probe.kind == "exec":
        return {"exec": {"command": list(probe.command)}}
    if probe.kind == "tcp":
        return {"tcpSocket": {} if probe.port is None else {"port": probe.port}}
    request: documents.ProbeRequest = {"path": probe.path}
    if probe.port is not None:
        request["port"] = probe.port
    if probe.headers:
        request["httpHeaders"] = [{"name": name, "value": value} for name, value in probe.headers]
    return {"httpGet": request}
