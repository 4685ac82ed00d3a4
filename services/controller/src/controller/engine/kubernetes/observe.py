"""What the engine port answers of an app, made of what the API server says. Pure.

Use: `Look.failures` tells which process types should fail now and where their last lines are; whoever can reads these,
and `Look.observation` puts all together. `findings.Finding.failure` does the same for what `Look.explain` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property

from controller.domain.names import RUN
from controller.domain.spec import AppObservation, EngineEvent, InstanceState, PtypeState
from controller.engine.kubernetes import names
from controller.engine.kubernetes.facts import (
    Events,
    Seen,
    count,
    holds,
    is_going,
    label,
    name_of,
    note,
    owner_of,
    uid_of,
)
from controller.engine.kubernetes.findings import Finding, own_words
from controller.engine.kubernetes.observe_jobs import is_one_off, job_instance, pods_of
from controller.engine.kubernetes.observe_pods import instance_of, phase_of
from controller.engine.kubernetes.reasons import Process, explain, failure_of, processes_of
from controller.engine.kubernetes.reasons_pod import of_pod
from shared.kubernetes.kinds import Manifest

_ENDED = ("Succeeded", "Failed")
_NOTHING_TO_TELL = ("up", "terminating", "down")


class Look:
    """One look at an app: what was seen of it is read once, whatever is asked about it."""

    def __init__(self, app: str, seen: Seen, now: datetime) -> None:
        self._app = app
        self._seen = seen
        self._now = now
        self._events = Events(seen.events)
        self._processes = processes_of(seen)

    @cached_property
    def failures(self) -> Mapping[str, Finding]:
        """Why rollouts should fail now, by process type; nothing of one that runs as it should."""
        found = {
            process.ptype: failure_of(process, self._events, self._now)
            for process in self._processes
            if not self._states[process.ptype].settled
        }
        return {ptype: finding for ptype, finding in found.items() if finding is not None}

    def explain(self, ptype: str) -> Finding | None:
        """Why new pods of that process type are not ready; None when they are, or when nothing can be told."""
        process = next((one for one in self._processes if one.ptype == ptype), None)
        return None if process is None else explain(process, self._events, self._now)

    def observation(self, logs: Mapping[str, Sequence[str]] | None = None) -> AppObservation:
        """What is there now. `logs` holds, by process type, the last lines that `failures` asked for."""
        states = dict(self._states)
        for ptype, finding in self.failures.items():
            failure = finding.failure(ptype, (logs or {}).get(ptype, ()))
            states[ptype] = replace(states[ptype], failure=failure)
        return AppObservation(self._app, tuple(states.values()), tuple(instances(self._seen, self._message)))

    @cached_property
    def _states(self) -> Mapping[str, PtypeState]:
        return {process.ptype: ptype_state(process, self._seen.pods) for process in self._processes}

    def _message(self, pod: Manifest) -> str:
        if phase_of(pod) in _NOTHING_TO_TELL:
            return ""
        finding = of_pod(pod, self._events, self._now, ptype=label(pod, names.TYPE))
        return "" if finding is None else f"{finding.code}: {finding.message}"


def ptype_state(process: Process, pods: Iterable[Manifest]) -> PtypeState:
    """How far a process type is, without its failure.

    Settled: the Deployment's status is about the spec of now and all numbers agree, by value (weaknesses 1, 11), its
    pods are ready (the Deployment hears of a pod that has ended later than we do), and no pod of another spec is left
    that is not ending already.
    """
    deployment = process.deployment
    status, spec = deployment.get("status") or {}, deployment.get("spec") or {}
    desired = count(spec, "replicas")
    updated = count(status, "updatedReplicas") if process.is_observed else 0
    numbers = (updated, count(status, "replicas"), count(status, "availableReplicas"))
    settled = process.is_observed and all(number == desired for number in numbers)
    settled = settled and sum(holds(pod, "Ready") for pod in process.pods) == desired
    return PtypeState(
        ptype=process.ptype,
        fingerprint=process.fingerprint,
        ready=count(status, "readyReplicas"),
        updated=updated,
        desired=desired,
        settled=settled and not any(_is_of_before(pod, process) for pod in pods),
    )


def events_of(seen: Seen, *, instance: str | None = None, ptype: str | None = None) -> tuple[EngineEvent, ...]:
    """What the cluster has noted of an instance, or of a process type: its Deployment and the ReplicaSets of that."""
    events = Events(seen.events)
    things: list[Manifest] = []
    if instance is not None:
        jobs = [job for job in seen.jobs if name_of(job) == instance]
        things += [*jobs, *(pod for job in jobs for pod in pods_of(job, seen.pods))]
        things += [pod for pod in seen.pods if name_of(pod) == instance]
    elif ptype is not None:
        things += [one for one in (*seen.deployments, *seen.replica_sets) if label(one, names.TYPE) == ptype]
    found = [
        happening for thing in things for happening in events.about(thing["kind"], name_of(thing), uid=uid_of(thing))
    ]
    found.sort(key=lambda happening: happening.order)
    return tuple(EngineEvent(one.reason, own_words(one.note), one.last) for one in found)


def instances(seen: Seen, message: Callable[[Manifest], str] = lambda _: "") -> Iterable[InstanceState]:
    """Every process that runs, or has ended and is still known. A one-off is its Job, under the Job's name. `message`
    tells why a pod is not up."""
    for pod in seen.pods:
        is_ours = label(pod, names.HERITAGE) == names.OURS[names.HERITAGE]
        if is_ours and label(pod, names.TYPE) not in ("", RUN) and owner_of(pod)[0] != "Job":
            yield replace(instance_of(pod), message=message(pod))
    for job in seen.jobs:
        if is_one_off(job):
            yield job_instance(job, pods_of(job, seen.pods))


def _is_of_before(pod: Manifest, process: Process) -> bool:
    fingerprint = note(pod, names.FINGERPRINT)
    return (
        label(pod, names.TYPE) == process.ptype
        and fingerprint not in ("", process.fingerprint)
        and owner_of(pod)[0] == "ReplicaSet"
        and not is_going(pod)
        and (pod.get("status") or {}).get("phase") not in _ENDED
    )
