"""What the engine port answers of an app, made of what the API server says. Pure.

Use: `failures` tells which process types should fail now and where their last lines are; whoever can reads these, and
`observe` puts all together. `findings.Finding.failure` does the same for what `reasons.explain` finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

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
from controller.engine.kubernetes.kinds import Manifest
from controller.engine.kubernetes.observe_jobs import is_one_off, job_instance, pods_of
from controller.engine.kubernetes.observe_pods import instance_of, phase_of
from controller.engine.kubernetes.reasons import Process, failure_of, processes_of
from controller.engine.kubernetes.reasons_pod import of_pod

_ENDED = ("Succeeded", "Failed")


def observe(app: str, seen: Seen, now: datetime, *, logs: Mapping[str, Sequence[str]] | None = None) -> AppObservation:
    """What is there now. `logs` holds, by process type, the last lines that `failures` asked for."""
    found, states = failures(seen, now), []
    for process in processes_of(seen):
        state, finding = ptype_state(process, seen.pods), found.get(process.ptype)
        if finding is not None:
            failure = finding.failure(process.ptype, (logs or {}).get(process.ptype, ()))
            state = replace(state, failure=failure)
        states.append(state)
    events = Events(seen.events)

    def message(pod: Manifest) -> str:
        finding = (
            None if phase_of(pod) in ("up", "terminating", "down") else of_pod(pod, events, now, ptype=_ptype(pod))
        )
        return "" if finding is None else f"{finding.code}: {finding.message}"

    return AppObservation(app, tuple(states), tuple(instances(seen, message)))


def failures(seen: Seen, now: datetime) -> dict[str, Finding]:
    """Why rollouts should fail now, by process type; nothing of one that runs as it should."""
    events, found = Events(seen.events), {}
    for process in processes_of(seen):
        finding = None if ptype_state(process, seen.pods).settled else failure_of(process, events, now)
        if finding is not None:
            found[process.ptype] = finding
    return found


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


def _ptype(pod: Manifest) -> str:
    return label(pod, names.TYPE)


def _is_of_before(pod: Manifest, process: Process) -> bool:
    fingerprint = note(pod, names.FINGERPRINT)
    return (
        label(pod, names.TYPE) == process.ptype
        and fingerprint not in ("", process.fingerprint)
        and owner_of(pod)[0] == "ReplicaSet"
        and not is_going(pod)
        and (pod.get("status") or {}).get("phase") not in _ENDED
    )
