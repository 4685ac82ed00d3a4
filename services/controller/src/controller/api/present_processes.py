"""What runs, as the JSON that clients know. Released clients count on these types: see the contract, section 6."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from controller.api.present import Json, timestamp
from controller.domain.releases import Release
from controller.domain.spec import InstanceState, Probe, ProcessSpec
from controller.services.processes import PtypeView

_ENDED = ("down", "crashed", "destroyed", "error")


def newest_first(instances: Iterable[InstanceState]) -> list[InstanceState]:
    """Instances by start, those that have not started first."""
    return sorted(instances, key=lambda each: each.started_at or datetime.max.replace(tzinfo=UTC), reverse=True)


def pod(instance: InstanceState) -> Json:
    """An instance as lists show it."""
    return {
        "name": instance.name,
        "state": instance.state,
        "release": f"v{instance.release}",
        "type": instance.ptype,
        "started": timestamp(instance.started_at or datetime.now(UTC)),
        "ready": "1/1" if instance.ready else "0/1",
        "restarts": instance.restarts,
    }


def pod_container(app: str, instance: InstanceState, spec: ProcessSpec | None, failure: str) -> Json:
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


def ptype(view: PtypeView) -> Json:
    """A process type as lists show it."""
    return {
        "name": view.name,
        "release": f"v{view.release}",
        "ready": f"{view.ready}/{view.desired}",
        "garbage": view.garbage,
        "up_to_date": view.up_to_date,
        "available_replicas": view.ready,
        "started": timestamp(view.started),
    }


def ptype_container(app: str, spec: ProcessSpec) -> Json:
    """A process type in detail."""
    limits = {"memory": f"{spec.memory_bytes // 1024**2}Mi"} if spec.memory_bytes else {}
    return {
        "container": f"{app}-{spec.ptype}",
        "image": spec.image,
        "command": list(spec.command),
        "args": _args(spec),
        "startup_probe": {},
        "liveness_probe": _probe(spec.liveness),
        "readiness_probe": _probe(spec.readiness),
        "limits": limits,
        "volume_mounts": [],
        "node_selector": {},
    }


def pod_events(instance: InstanceState, failure: str) -> list[Json]:
    """What is known to have happened to an instance, the oldest first."""
    events = []
    if instance.started_at is not None:
        created = timestamp(instance.started_at)
        text = f"{instance.ptype} of v{instance.release} started"
        events.append({"reason": "Started", "message": text, "created": created})
        if instance.restarts:
            text = f"started again {instance.restarts} times after it had ended"
            events.append({"reason": "BackOff", "message": text, "created": created})
    if failure:
        now = timestamp(instance.started_at or datetime.now(UTC))
        events.append({"reason": "Failed", "message": failure, "created": now})
    return [dict(event) for event in events]


def ptype_events(name: str, releases: Iterable[Release]) -> list[Json]:
    """The ends of the rollouts that moved a process type, the oldest first."""
    found: list[tuple[str, Json]] = []
    for release in releases:
        for condition in release.conditions:
            ptypes, created = condition.get("ptypes"), str(condition.get("created"))
            if isinstance(ptypes, list) and name in ptypes:
                found.append((created, _ptype_event(release, condition, created)))
    return [event for _, event in sorted(found, key=lambda pair: pair[0])]


def _ptype_event(release: Release, condition: Mapping[str, object], created: str) -> Json:
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


def _state(instance: InstanceState) -> Json:
    if instance.state in _ENDED:
        return {"terminated": {"exitCode": instance.exit_code or 0, "startedAt": timestamp(instance.started_at)}}
    if instance.state in ("up", "terminating"):
        return {"running": {"startedAt": timestamp(instance.started_at)}}
    return {"waiting": {"reason": instance.state}}


def _probe(probe: Probe | None) -> Json:
    if probe is None:
        return {}
    port = {"port": probe.port} if probe.port is not None else {}
    action: Json = {"exec": {"command": list(probe.command)}}
    if probe.kind == "tcp":
        action = {"tcpSocket": {**port}}
    elif probe.kind == "http":
        headers = [{"name": name, "value": value} for name, value in probe.headers]
        action = {"httpGet": {"path": probe.path, **port, **({"httpHeaders": headers} if headers else {})}}
    return {
        **action,
        "initialDelaySeconds": int(probe.initial_delay.total_seconds()),
        "timeoutSeconds": max(1, round(probe.timeout.total_seconds())),
        "periodSeconds": max(1, round(probe.period.total_seconds())),
        "successThreshold": 1,
        "failureThreshold": probe.failure_threshold,
    }
