"""Objects as the API server gives them, for tests: recorded ones, and small builders for what cannot be recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from controller.engine.kubernetes import names
from controller.engine.kubernetes.facts import Seen, moment
from shared.kubernetes.kinds import Manifest

RECORDED: Final = Path(__file__).parents[1] / "unit" / "engine_kubernetes" / "recorded"
"""One file for each state: the objects of one process type or one-off and their events, from a real cluster."""
NOW: Final = datetime(2026, 11, 21, 12, tzinfo=UTC)
NEW: Final = "f" * 32
OLD: Final = "0" * 32
APP: Final = "tidepool"


def recorded(name: str) -> tuple[Seen, datetime]:
    """A recorded state and when it was seen."""
    told = json.loads((RECORDED / f"{name}.json").read_text())
    seen_at = moment(told["recorded"])
    assert seen_at is not None
    return seen_of(*told["objects"]), seen_at


def seen_of(*objects: Manifest) -> Seen:
    """Objects by their kinds."""
    kinds = ("Deployment", "ReplicaSet", "Pod", "Job", "Event")
    found = {kind: [one for one in objects if one["kind"] == kind] for kind in kinds}
    assert sum(map(len, found.values())) == len(objects)
    return Seen(*found.values())


def ago(seconds: float) -> str:
    """A point in time before NOW, as the API server writes it."""
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def deployment(
    replicas: int = 1,
    *,
    ptype: str = "web",
    fingerprint: str = NEW,
    generation: int = 1,
    status: Mapping[str, object] | None = None,
) -> Manifest:
    """A Deployment that is as it should be, but for what `status` says."""
    numbers = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), replicas)
    return {
        "kind": "Deployment",
        "metadata": {
            "name": f"{APP}-{ptype}",
            "labels": names.labels(APP, ptype),
            "annotations": {names.FINGERPRINT: fingerprint},
            "generation": generation,
        },
        "spec": {"replicas": replicas},
        "status": {"observedGeneration": generation, **numbers, **(status or {})},
    }


def pod(
    name: str = "one",
    *,
    ptype: str = "web",
    fingerprint: str = NEW,
    phase: str = "Running",
    state: Mapping[str, Any] | None = None,
    last: Mapping[str, Any] | None = None,
    ready: bool = False,
    restarts: int = 0,
    age: float = 60,
    owner: str = "ReplicaSet",
    conditions: tuple[Mapping[str, Any], ...] = (),
    **status: object,
) -> Manifest:
    """A pod; `state` None means that nothing is known of its container. It was made `age` seconds ago."""
    container = {"name": f"{APP}-{ptype}", "ready": ready, "restartCount": restarts, "state": state}
    known = {"containerStatuses": [{**container, "lastState": {"terminated": last} if last else {}}]} if state else {}
    is_ready = {"type": "Ready", "status": "True" if ready else "False"}
    return {
        "kind": "Pod",
        "metadata": {
            "name": name,
            "labels": names.pod_labels(APP, ptype, 7),
            "annotations": {names.FINGERPRINT: fingerprint},
            "creationTimestamp": ago(age),
            "ownerReferences": [{"kind": owner, "name": f"{APP}-{ptype}", "controller": True}],
        },
        "spec": {"restartPolicy": "Never" if owner == "Job" else "Always", "containers": [{"name": f"{APP}-{ptype}"}]},
        "status": {"phase": phase, "startTime": ago(age), "conditions": [is_ready, *conditions], **known, **status},
    }


def ready_pod(name: str = "one", **more: Any) -> Manifest:
    """A pod that takes requests."""
    return pod(name, state={"running": {"startedAt": ago(50)}}, ready=True, **more)


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    """The state of a container that waits."""
    return {"waiting": {"reason": reason, "message": message}}


def ended(exit_code: int, reason: str = "Error", message: str = "") -> dict[str, Any]:
    """How a container ended."""
    times = {"startedAt": ago(40), "finishedAt": ago(30)}
    return {"exitCode": exit_code, "reason": reason, "message": message, **times}


def event(reason: str, note: str, *, about: str = "one", kind: str = "Pod", times: int = 1, age: float = 5) -> Manifest:
    """An event of `age` seconds ago that has happened so often."""
    return {
        "kind": "Event",
        "metadata": {"name": f"{about}.{reason}.{age}"},
        "reason": reason,
        "note": note,
        "regarding": {"kind": kind, "name": about},
        "deprecatedLastTimestamp": ago(age),
        "deprecatedCount": times,
    }


def going(thing: Manifest) -> Manifest:
    """The same, being deleted."""
    return {**thing, "metadata": {**thing["metadata"], "deletionTimestamp": ago(-20)}}


def job(*, conditions: tuple[str, ...] = (), reason: str = "", ended_for: str = "", **status: object) -> Manifest:
    """A one-off with these conditions."""
    told = [{"type": kind, "status": "True", "reason": reason, "lastTransitionTime": ago(10)} for kind in conditions]
    notes = {names.FINGERPRINT: NEW} | ({"workflow.drycc.cc/ended-for": ended_for} if ended_for else {})
    return {
        "kind": "Job",
        "metadata": {
            "name": f"{APP}-run",
            "labels": names.labels(APP, "run"),
            "annotations": notes,
            "creationTimestamp": ago(60),
        },
        "spec": {"activeDeadlineSeconds": 900, "template": {"metadata": {"labels": names.pod_labels(APP, "run", 7)}}},
        "status": {"startTime": ago(60), "conditions": told, **status},
    }


def job_pod(**more: Any) -> Manifest:
    """Its pod."""
    return pod("run-one", ptype="run", owner="Job", **more)
