"""One-offs: where a Job stands, by itself, its pod and the events of both. Pure (kubernetes.md 2.9, weakness 43).

Jobs are made with `backoffLimit: 0`: what their one pod does is the outcome. The pod is believed at once, as the Job's
own conditions come seconds later. A Job that was ended by its deadline has no pod any more.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from controller.domain.names import RUN
from controller.domain.spec import InstanceState, JobPhase, JobState
from controller.engine.kubernetes import names
from controller.engine.kubernetes.facts import (
    Events,
    Part,
    condition,
    created_at,
    holds,
    label,
    moment,
    name_of,
    note,
    own_container,
    owner_of,
    uid_of,
)
from controller.engine.kubernetes.findings import Finding
from controller.engine.kubernetes.observe_pods import exit_code_of, phase_of, release_of
from controller.engine.kubernetes.reasons import of_refused_pod
from controller.engine.kubernetes.reasons_pod import of_pod
from shared.kubernetes.kinds import Manifest

_LATE: Final = "deadline-exceeded"
_STARTING: Final = ("initializing", "creating", "starting")


def is_one_off(job: Manifest) -> bool:
    """It is a command of a user or of the release phase; helpers of volumes are Jobs as well."""
    return label(job, names.TYPE) == RUN and label(job, names.HERITAGE) == names.OURS[names.HERITAGE]


def pods_of(job: Manifest, pods: Iterable[Manifest]) -> list[Manifest]:
    """The pods of a Job, the oldest first."""
    owner = ("Job", name_of(job))
    return sorted((pod for pod in pods if owner_of(pod) == owner and _is_child(pod, job)), key=created_at)


def job_state(
    name: str, job: Manifest, pods: Sequence[Manifest], events: Events, now: datetime, *, log: Sequence[str] = ()
) -> JobState:
    """Where a one-off called `name` stands. `pods` are its own; `log` holds its last lines.

    One that can never start (no such image, settings that are missing) is `crashed` although its Job waits on: see
    `hopeless`.
    """
    pod = pods[-1] if pods else None
    phase = _phase(job, pod)
    finding = hopeless(job, pods, events, now)
    began, ended = _times(job, pod)
    if finding is None and phase in ("starting", "up"):
        return JobState(name, phase, log=tuple(log), started_at=began)
    if phase == "down":
        return JobState(name, "down", 0, None, tuple(log), began, ended)
    exit_code = None if pod is None or finding is not None else exit_code_of(pod)
    if finding is None:
        finding = _outcome(job, pod, events, now)
    lines = tuple(log) if finding.code in ("process-crashed", "process-exited") else (*log, finding.message)
    return JobState(name, "crashed", exit_code, finding.code, lines, began, ended)


def hopeless(job: Manifest, pods: Sequence[Manifest], events: Events, now: datetime) -> Finding | None:
    """Why a Job that has not ended can never start; whoever sees that should end it."""
    if _is_over(job) or (pods and phase_of(pods[-1]) not in (*_STARTING, "error")):
        return None
    if pods:
        found = of_pod(pods[-1], events, now, ptype=RUN)
    else:
        refusals = events.of("Job", name_of(job), "FailedCreate", uid=uid_of(job))
        found = of_refused_pod(refusals[-1].note, created_at(job), now) if refusals else None
    return found if found is not None and found.is_fatal else None


def job_instance(job: Manifest, pods: Sequence[Manifest]) -> InstanceState:
    """A one-off in the list of what runs: never ready, as it serves nobody."""
    pod = pods[-1] if pods else None
    state = "terminating" if _is_ending(pod) else _phase(job, pod)
    template = (job.get("spec") or {}).get("template") or {}
    return InstanceState(
        name=name_of(job),
        ptype=RUN,
        release=release_of(pod if pod is not None else template),
        state=state,
        started_at=_times(job, pod)[0],
        ready=False,
        restarts=0,
        exit_code=None if pod is None else exit_code_of(pod),
        fingerprint=note(job, names.FINGERPRINT),
    )


def _phase(job: Manifest, pod: Manifest | None) -> JobPhase:
    if holds(job, "Complete"):
        return "down"
    if _is_over(job):
        return "crashed"
    if pod is None:
        return "starting"
    seen = phase_of(pod)
    if seen == "down":  # which a process that is told to end may report as well
        return "crashed" if holds(job, "FailureTarget") else "down"
    if seen == "crashed":
        return "crashed"
    return "up" if seen in ("up", "terminating") or _has_run(pod) else "starting"


def _outcome(job: Manifest, pod: Manifest | None, events: Events, now: datetime) -> Finding:
    """Why it did not end well."""
    ours = note(job, names.ENDED_FOR)
    if ours:
        return Finding(ours, "it was ended before its time")
    failed = condition(job, "Failed") or condition(job, "FailureTarget")
    if failed.get("reason") == "DeadlineExceeded":
        seconds = (job.get("spec") or {}).get("activeDeadlineSeconds")
        text = f"{timedelta(seconds=seconds).total_seconds():g} s" if isinstance(seconds, int) else "it may"
        return Finding(_LATE, f"killed: it ran longer than {text}")
    found = None if pod is None else of_pod(pod, events, now, ptype=RUN)
    return found or Finding("lost", "the cluster does not know any more how it ended")


def _times(job: Manifest, pod: Manifest | None) -> tuple[datetime | None, datetime | None]:
    """When its process began and ended, as far as that is known."""
    container = None if pod is None else own_container(pod)
    state: Part = {} if container is None else container.terminated or container.running or {}
    status = job.get("status") or {}
    over = condition(job, "Failed") or condition(job, "Complete")
    ended = (state.get("finishedAt"), status.get("completionTime"), over.get("lastTransitionTime"))
    began = (state.get("startedAt"), status.get("startTime") if pod is None and _is_over(job) else None)
    return next(filter(None, map(moment, began)), None), next(filter(None, map(moment, ended)), None)


def _is_over(job: Manifest) -> bool:
    return any(holds(job, kind) for kind in ("Failed", "Complete"))


def _is_ending(pod: Manifest | None) -> bool:
    return pod is not None and phase_of(pod) == "terminating"


def _has_run(pod: Manifest) -> bool:
    container = own_container(pod)
    return container is not None and container.running is not None


def _is_child(pod: Manifest, job: Manifest) -> bool:
    owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
    uid = uid_of(job)
    return not uid or any(owner.get("uid") in (uid, None) for owner in owners)
