"""Where a filer stands, by its Job, its pods and their events. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.facts import Events, created_at, holds, is_going, moment, name_of
from controller.engine.kubernetes.findings import Finding
from controller.engine.kubernetes.observe_jobs import hopeless, pods_of
from controller.engine.kubernetes.observe_pods import phase_of
from controller.engine.kubernetes.reasons_pod import of_pod
from shared.kubernetes.kinds import Manifest

FilerPhase = Literal["starting", "up", "hopeless", "spent"]
"""`spent`: it has ended, is ending or is too old; another one has to take its place."""

_PTYPE: Final = "filer"
_OVER: Final = ("Complete", "Failed", "FailureTarget", "SuccessCriteriaMet")
_ENDED: Final = ("down", "crashed")


@dataclass(frozen=True)
class FilerState:
    """`pod` is the name of the pod that is up; `finding` tells why there is none, as far as that can be told."""

    phase: FilerPhase
    pod: str = ""
    finding: Finding | None = None


def filer_state(
    job: Manifest, pods: Sequence[Manifest], events: Events, now: datetime, config: KubernetesConfig
) -> FilerState:
    """Where it stands; `pods` are those of the app."""
    own = pods_of(job, pods)
    pod = own[-1] if own else None
    finding = None if pod is None else of_pod(pod, events, now, ptype=_PTYPE)
    if is_going(job) or any(holds(job, kind) for kind in _OVER) or is_used_up(job, now, config):
        return FilerState("spent", finding=finding)
    if pod is None:
        refused = hopeless(job, own, events, now)
        return FilerState("starting" if refused is None else "hopeless", finding=refused)
    if is_going(pod) or phase_of(pod) in _ENDED:
        return FilerState("spent", finding=finding)
    if phase_of(pod) == "up":
        return FilerState("up", pod=name_of(pod))
    return FilerState("hopeless" if finding is not None and finding.is_fatal else "starting", finding=finding)


def is_used_up(job: Manifest, now: datetime, config: KubernetesConfig) -> bool:
    """It is about to end for its time; or it is older than one should get, and nobody has given it more time lately, so
    that nobody uses it."""
    idle, left = config.filer_idle.total_seconds(), _left(job, now)
    return left < idle / 20 or (now - _began(job) > config.filer_duration and left < idle / 2)


def wants_time(job: Manifest, now: datetime, config: KubernetesConfig, *, is_busy: bool) -> bool:
    """Whether who is about to use it has to give it more time. One that is old gets some only while a transfer runs."""
    is_young = now - _began(job) <= config.filer_duration
    return (is_young or is_busy) and _left(job, now) < 0.75 * config.filer_idle.total_seconds()


def deadline_of(job: Manifest, now: datetime, config: KubernetesConfig) -> int:
    """The `activeDeadlineSeconds` with which it ends `filer_idle` from now on."""
    return math.ceil((now - _began(job)).total_seconds() + config.filer_idle.total_seconds())


def node_in_use(claim: str, pods: Sequence[Manifest]) -> str | None:
    """The machine on which a claim is mounted now."""
    for pod in pods:
        spec = pod.get("spec") or {}
        volumes = spec.get("volumes") or ()
        is_user = any((volume.get("persistentVolumeClaim") or {}).get("claimName") == claim for volume in volumes)
        if is_user and spec.get("nodeName") and phase_of(pod) not in _ENDED:
            return str(spec["nodeName"])
    return None


def _began(job: Manifest) -> datetime:
    return moment((job.get("status") or {}).get("startTime")) or created_at(job)


def _left(job: Manifest, now: datetime) -> float:
    seconds = (job.get("spec") or {}).get("activeDeadlineSeconds")
    return math.inf if not isinstance(seconds, int) else seconds - (now - _began(job)).total_seconds()
