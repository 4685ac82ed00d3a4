"""Why a process type does not run: what is final now, and what explains a rollout that has run out of time.

The two differ. Some reasons never pass (no such image, a wrong command, a process that ended three times): a rollout
fails with them at once. Others may pass (no machine has room yet, a registry is away, a check refuses): they become a
failure when the Deployment says that its time is over, and until then they are what `Engine.explain` tells.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from controller.engine.kubernetes import names
from controller.engine.kubernetes.facts import (
    Events,
    Part,
    Seen,
    condition,
    count,
    created_at,
    holds,
    is_going,
    label,
    moment,
    note,
    own_container,
    owner_of,
)
from controller.engine.kubernetes.findings import (
    ADMISSION_HINT,
    DEADLINE_HINT,
    OPERATOR_HINT,
    QUOTA_HINT,
    Finding,
    own_words,
)
from controller.engine.kubernetes.reasons_pod import PATIENCE, of_pod
from shared.kubernetes.kinds import Manifest

QUOTA_PATIENCE: Final = timedelta(seconds=30)
"""So long may pods of before, which still end, use up a quota."""

_CLOCKS_APART: Final = timedelta(seconds=5)
_PREFIX: Final = re.compile(
    r'^(\(combined from similar events\): )?(Error creating: )?pods "[^"]*" is (forbidden|invalid): '
)


@dataclass(frozen=True)
class Process:
    """One process type: its Deployment, the ReplicaSet of what it is to run now and the pods of that, of which those
    that are being deleted do not count."""

    ptype: str
    deployment: Manifest
    replica_set: Manifest | None
    pods: tuple[Manifest, ...]
    heard_since: datetime | None = None

    @property
    def fingerprint(self) -> str:
        """That of the spec which it works towards."""
        return note(self.deployment, names.FINGERPRINT)

    @property
    def is_observed(self) -> bool:
        """Its status is about what it should be now."""
        status = self.deployment.get("status") or {}
        wanted = count(self.deployment.get("metadata") or {}, "generation")
        return count(status, "observedGeneration") >= wanted


def processes_of(seen: Seen) -> list[Process]:
    """The process types that have a Deployment of ours which is not being deleted, by name."""
    found = []
    for deployment in seen.deployments:
        ptype = label(deployment, names.TYPE)
        if not ptype or is_going(deployment) or label(deployment, names.HERITAGE) != names.OURS[names.HERITAGE]:
            continue
        wanted = note(deployment, names.FINGERPRINT)
        sets = [one for one in seen.replica_sets if _is_current(one, ptype, _template_note(one), wanted)]
        pods = [
            pod
            for pod in seen.pods
            if _is_current(pod, ptype, note(pod, names.FINGERPRINT), wanted) and owner_of(pod)[0] != "Job"
        ]
        newest = max(sets, key=created_at, default=None)
        found.append(Process(ptype, deployment, newest, tuple(sorted(pods, key=created_at)), seen.heard_since))
    return sorted(found, key=lambda process: process.ptype)


def failure_of(process: Process, events: Events, now: datetime) -> Finding | None:
    """Why a rollout of it should fail now; None while it may still succeed."""
    if not process.is_observed:
        return None
    found = explain(process, events, now)
    if found is not None and (found.is_fatal or found.is_patient):
        return found if found.is_fatal else None
    if not _is_out_of_time(process):
        return None
    return found or Finding("deadline-exceeded", f"the {process.ptype} process was not ready in time", DEADLINE_HINT)


def explain(process: Process, events: Events, now: datetime) -> Finding | None:
    """Why new pods of it are not ready; None when they are, or when nothing can be told."""
    found = [_of_refusal(process, now), *_of_ended(process, events, now)]
    for pod in process.pods:
        if _phase(pod) not in ("Failed", "Succeeded") and not is_proven(pod, process.deployment, now):
            found.append(of_pod(pod, events, now, ptype=process.ptype))
    known = [finding for finding in found if finding is not None]
    # Of equals the last, which is about the newest pod.
    return max(reversed(known), key=lambda finding: (finding.is_fatal, not finding.is_patient), default=None)


def is_proven(pod: Manifest, deployment: Manifest, now: datetime) -> bool:
    """It is ready, and not only for the moment between two ends: one without a check is ready as soon as it runs."""
    if not holds(pod, "Ready"):
        return False
    container = own_container(pod)
    if container is None or container.restarts == 0:
        return True
    began = moment((container.running or {}).get("startedAt"))
    settling = timedelta(seconds=count(deployment.get("spec") or {}, "minReadySeconds"))
    return began is None or now - began >= settling


def of_refused_pod(message: str, since: datetime | None, now: datetime) -> Finding:
    """The API server does not let a pod be made: in its own words (weakness 2)."""
    words = own_words(_PREFIX.sub("", message))
    if "exceeded quota" in message:
        is_fatal = since is not None and now - since >= QUOTA_PATIENCE
        return Finding("quota-exceeded", f"the app may not have another process: {words}", QUOTA_HINT, is_fatal)
    if "failed quota" in message:
        return Finding("quota-exceeded", f"the app may not have this process: {words}", QUOTA_HINT, True)
    if "failed calling webhook" in message or "failed to call webhook" in message:
        return Finding("admission-denied", f"the cluster could not check the process: {words}", OPERATOR_HINT)
    passes = "service account" in message or "being terminated" in message
    if not passes and ("is forbidden" in message or "is invalid" in message or "denied the request" in message):
        return Finding("admission-denied", f"the cluster refuses the process: {words}", ADMISSION_HINT, True)
    return Finding("start-failed", f"no process could be made: {words}", OPERATOR_HINT)


def _of_refusal(process: Process, now: datetime) -> Finding | None:
    # The ReplicaSet's own word, if it is there: the Deployment may speak of one of before.
    known: Part = {}
    if process.replica_set is not None:
        known = condition(process.replica_set, "ReplicaFailure")
    elif process.is_observed:
        known = condition(process.deployment, "ReplicaFailure")
    if known.get("status") != "True" or known.get("reason") not in ("FailedCreate", None):
        return None
    return of_refused_pod(str(known.get("message") or ""), moment(known.get("lastTransitionTime")), now)


def _of_ended(process: Process, events: Events, now: datetime) -> Iterable[Finding]:
    """Pods that failed as a whole (evicted, their machine lost); the Deployment makes others in their place."""
    ended = [pod for pod in process.pods if _phase(pod) == "Failed"]
    if any(is_proven(pod, process.deployment, now) for pod in process.pods):
        return []
    found = [of_pod(pod, events, now, ptype=process.ptype) for pod in ended]
    known: Sequence[Finding] = [finding for finding in found if finding is not None]
    often = Counter(finding.code for finding in known)
    return [finding.fatal(finding.is_fatal or often[finding.code] >= PATIENCE) for finding in known]


def _is_out_of_time(process: Process) -> bool:
    """Its time is over, as the cluster counts it.

    Time in which the cluster was away, and could do nothing, counts there as well: what it says soon after that is not
    taken for it; the rollout has a deadline besides.
    """
    progress = condition(process.deployment, "Progressing")
    if progress.get("status") != "False" or progress.get("reason") != "ProgressDeadlineExceeded":
        return False
    said_at = moment(progress.get("lastUpdateTime"))
    if process.heard_since is None or said_at is None:
        return True
    allowed = timedelta(seconds=count(process.deployment.get("spec") or {}, "progressDeadlineSeconds"))
    return not process.heard_since <= said_at + _CLOCKS_APART <= process.heard_since + allowed + _CLOCKS_APART


def _is_current(thing: Manifest, ptype: str, fingerprint: str, wanted: str) -> bool:
    return label(thing, names.TYPE) == ptype and fingerprint == wanted and not is_going(thing)


def _template_note(replica_set: Manifest) -> str:
    return note((replica_set.get("spec") or {}).get("template") or {}, names.FINGERPRINT)


def _phase(pod: Manifest) -> str:
    return str((pod.get("status") or {}).get("phase") or "")
