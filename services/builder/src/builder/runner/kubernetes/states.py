"""What the status of a pod and of its Job means for a build: pure readings, in words for the person who pushed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

from builder.runner.port import BuildFailedError, BuildFailureCode
from shared.kubernetes.kinds import Manifest

_CODES: Final = frozenset(get_args(BuildFailureCode))
_PLATFORM_HINT: Final = "This is a fault of the platform, not of the app: push again, and tell its operator."
_MEMORY_HINT: Final = "Make the build need less memory (fewer parallel jobs), or have its limit raised."
_DISK_HINT: Final = "Keep large files out of the repository and the build, or have the limit raised."
# Of programs of the platform interface ("Exit codes"), which leave no reason where we look for one.
_PHASES: Final[Mapping[tuple[str, int], tuple[BuildFailureCode, str, str]]] = {
    ("detect", 20): (
        "nothing-recognised",
        "no buildpack of the builder image fits this repository",
        "Name another builder image, remove its name to use the platform's own, or add a Dockerfile.",
    ),
    ("detect", 21): ("build-failed", "a buildpack of the builder image failed to look at the repository", ""),
    ("build", 51): ("build-failed", "a buildpack of the builder image failed; its words are above", ""),
}
_DEADLINE: Final = "DeadlineExceeded"
_STOPPED: Final = "the build was stopped from outside"
_KILLED: Final = (137, 143)
# The beginning of the kubelet's words where not the pod has used too much but its machine has too little.
_SHORT_OF: Final = "The node was low on resource"


@dataclass(frozen=True)
class Ended:
    """A container that has run: `message` is its termination message."""

    name: str
    exit_code: int
    reason: str
    message: str


def ended(pod: Manifest, container: str) -> Ended | None:
    """How that container ended; None while it has not."""
    state = (_status(pod, container) or {}).get("state") or {}
    over = state.get("terminated")
    if over is None:
        return None
    return Ended(container, int(over.get("exitCode", 1)), str(over.get("reason") or ""), str(over.get("message") or ""))


def has_started(pod: Manifest, container: str) -> bool:
    """It runs or has run, so it has output."""
    state = (_status(pod, container) or {}).get("state") or {}
    return state.get("running") is not None or state.get("terminated") is not None


def is_over(pod: Manifest) -> bool:
    """Nothing of the pod will run any more, or nobody will tell: the phase of one whose machine is lost stays."""
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    return (_disruption(pod) or {}).get("reason") == "DeletionByTaintManager"


def containers_of(pod: Manifest) -> tuple[str, ...]:
    """Names in the order in which they run."""
    spec = pod["spec"]
    return tuple(one["name"] for one in (*(spec.get("initContainers") or ()), *spec["containers"]))


def why_waiting(pod: Manifest) -> str | None:
    """Why the pod does not run yet, in the cluster's words; None while it is on its way as usual."""
    for condition in (pod.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return f"no machine takes it: {condition.get('message') or condition.get('reason')}"
    for status in _statuses(pod):
        waiting = (status.get("state") or {}).get("waiting") or {}
        reason = waiting.get("reason") or ""
        if reason not in ("", "PodInitializing", "ContainerCreating"):
            return f"{status.get('name')} cannot start ({reason}): {waiting.get('message') or 'no reason was given'}"
    return None


def failure_of(pod: Manifest) -> BuildFailedError:
    """Why a pod that is over gave no result."""
    status = pod.get("status") or {}
    if status.get("reason") == _DEADLINE:
        return BuildFailedError("build-timeout", "the build took too long and was stopped", hint=_deadline_hint(pod))
    if status.get("reason") == "Evicted":
        message = str(status.get("message") or "the build was evicted")
        if message.startswith(_SHORT_OF):
            return BuildFailedError("interrupted", message, hint=_PLATFORM_HINT)
        return BuildFailedError("disk-limit", message, hint=_DISK_HINT)
    taken = _taken_away(pod)
    for container in containers_of(pod):
        end = ended(pod, container)
        if end is not None and end.exit_code != 0:
            return _failure_of_container(end, taken)
    message = taken or str(status.get("message") or status.get("reason") or "the build's pod ended without a reason")
    return BuildFailedError("interrupted", message, hint=_PLATFORM_HINT)


def _taken_away(pod: Manifest) -> str:
    """Why the cluster has stopped the pod, such as its machine being emptied, shut down, or lost; else empty."""
    status = pod.get("status") or {}
    if (disruption := _disruption(pod)) is not None:
        return f"{_STOPPED}: {disruption.get('message') or disruption.get('reason')}"
    if status.get("reason") in ("Terminated", "NodeShutdown", "Shutdown", "Preempting", "NodeLost"):
        return f"{_STOPPED}: {status.get('message') or status.get('reason')}"
    return f"{_STOPPED}: its pod was deleted" if (pod.get("metadata") or {}).get("deletionTimestamp") else ""


def _disruption(pod: Manifest) -> Mapping[str, Any] | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    is_one = (one for one in conditions if one.get("type") == "DisruptionTarget" and one.get("status") == "True")
    return next(is_one, None)


def failure_of_job(job: Manifest) -> BuildFailedError | None:
    """Why a Job that has no pod any more has failed; None while it has not."""
    for condition in (job.get("status") or {}).get("conditions") or ():
        if condition.get("type") == "Failed" and condition.get("status") == "True":
            if condition.get("reason") == _DEADLINE:
                return BuildFailedError("build-timeout", "the build took too long and was stopped")
            message = f"the build's pod was lost: {condition.get('message') or condition.get('reason')}"
            return BuildFailedError("interrupted", message, hint=_PLATFORM_HINT)
    return None


def images_of(pod: Manifest) -> dict[str, str] | None:
    """The images that the build reports, by process type; None when there is no such report."""
    for container in reversed(containers_of(pod)):
        end = ended(pod, container)
        images = _report(end.message).get("images") if end is not None else None
        if isinstance(images, dict) and images and all(isinstance(one, str) and one for one in images.values()):
            return {str(ptype): image for ptype, image in images.items()}
    return None


def _failure_of_container(end: Ended, taken: str) -> BuildFailedError:
    told = _report(end.message).get("error")
    code = cast(BuildFailureCode, told["code"]) if isinstance(told, dict) and told.get("code") in _CODES else None
    # A build that somebody cancels ends here, and its pod is not asked: this one was told to stop by the cluster.
    if code == "cancelled" or (code is None and taken and end.exit_code in _KILLED and end.reason != "OOMKilled"):
        return BuildFailedError("interrupted", taken or _STOPPED, hint=_PLATFORM_HINT)
    if isinstance(told, dict) and code is not None:
        return BuildFailedError(
            code, str(told.get("message") or "no reason was given"), hint=str(told.get("hint") or "")
        )
    if end.reason == "OOMKilled":
        return BuildFailedError("build-failed", f"{end.name} ran out of memory and was killed", hint=_MEMORY_HINT)
    if (known := _PHASES.get((end.name, end.exit_code))) is not None:
        return BuildFailedError(known[0], known[1], hint=known[2])
    words = f": {end.message.strip()}" if end.message.strip() else ""
    return BuildFailedError("build-failed", f"{end.name} ended with status {end.exit_code}{words}")


def _deadline_hint(pod: Manifest) -> str:
    seconds = (pod.get("spec") or {}).get("activeDeadlineSeconds")
    limit = f" of {seconds} s" if seconds else ""
    return f"Look for a step that waits or does too much, or have the limit{limit} raised."


def _report(message: str) -> Mapping[str, Any]:
    try:
        report = json.loads(message)
    except ValueError:
        return {}
    return report if isinstance(report, dict) else {}


def _statuses(pod: Manifest) -> Iterator[Mapping[str, Any]]:
    status = pod.get("status") or {}
    for key in ("initContainerStatuses", "containerStatuses"):
        yield from status.get(key) or ()


def _status(pod: Manifest, container: str) -> Mapping[str, Any] | None:
    return next((one for one in _statuses(pod) if one.get("name") == container), None)
