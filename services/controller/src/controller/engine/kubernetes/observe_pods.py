"""One pod as an instance. States are those of `domain.spec.InstancePhase`, never a word of the cluster (kubernetes.md
2.7, weakness 42)."""

from __future__ import annotations

import re
from typing import Final

from controller.domain.spec import InstancePhase, InstanceState
from controller.engine.kubernetes import names
from controller.engine.kubernetes.facts import (
    Container,
    condition,
    containers_of,
    holds,
    is_going,
    label,
    moment,
    name_of,
    note,
    own_container,
)
from shared.kubernetes.kinds import Manifest

_VERSION: Final = re.compile(r"v(\d{1,9})")
_BEING_MADE: Final = ("ContainerCreating", "PodInitializing", "")


def instance_of(pod: Manifest) -> InstanceState:
    """A pod of a process type; pods without any container status are fine (weakness 41)."""
    state = phase_of(pod)
    return InstanceState(
        name=name_of(pod),
        ptype=label(pod, names.TYPE),
        release=release_of(pod),
        state=state,
        started_at=moment((pod.get("status") or {}).get("startTime")),
        ready=state in ("up", "terminating") and holds(pod, "Ready"),
        restarts=sum(container.restarts for container in containers_of(pod) if not container.is_init),
        exit_code=exit_code_of(pod),
        fingerprint=note(pod, names.FINGERPRINT),
    )


def phase_of(pod: Manifest) -> InstancePhase:
    """Where a pod stands. One that is to go is `terminating` until it has ended, ready or not."""
    status = pod.get("status") or {}
    phase = status.get("phase")
    if phase == "Succeeded":
        return "down"
    if phase == "Failed":
        return "crashed"
    if phase == "Unknown" or status.get("reason") == "NodeLost":
        return "error"
    if is_going(pod):
        return "terminating"
    return _running(pod) if phase == "Running" else _pending(pod)


def release_of(thing: Manifest) -> int:
    """The release that an object belongs to; 0 for none."""
    found = _VERSION.fullmatch(label(thing, names.VERSION))
    return int(found[1]) if found else 0


def exit_code_of(pod: Manifest) -> int | None:
    """How its process ended, or ended the last time; None when it never has."""
    container = own_container(pod)
    code = None if container is None else container.ended.get("exitCode")
    return code if isinstance(code, int) else None


def _pending(pod: Manifest) -> InstancePhase:
    containers = containers_of(pod)
    if any(_fails(container) for container in containers):
        return "error"
    own = own_container(pod)
    creating = own is not None and own.waiting.get("reason") == "ContainerCreating"
    return "creating" if creating else "initializing"


def _running(pod: Manifest) -> InstancePhase:
    own = own_container(pod)
    if own is None:
        return "starting"
    if own.terminated and (pod.get("spec") or {}).get("restartPolicy") == "Never":
        return "down" if own.terminated.get("exitCode") == 0 else "crashed"
    if own.terminated or _fails(own):
        return "error"
    if not own.ready:
        return "starting"
    ready = condition(pod, "Ready")
    if ready.get("status") == "True":
        return "up"
    # Its container is ready and it is not: others have a say in that, or the kubelet has not been heard of.
    waits = ready.get("reason") in ("ReadinessGatesNotReady", "ContainersNotReady")
    return "starting" if waits or not ready else "error"


def _fails(container: Container) -> bool:
    if container.is_init and container.terminated:
        return container.terminated.get("exitCode") != 0
    return bool(container.waiting) and str(container.waiting.get("reason") or "") not in _BEING_MADE
