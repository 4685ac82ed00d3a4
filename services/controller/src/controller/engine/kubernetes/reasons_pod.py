"""Why one pod is not ready, from its status and its events (kubernetes.md 2.5; weaknesses 4, 5, 6, 41)."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import datetime
from typing import Final

from controller.engine.exits import describe_exit
from controller.engine.kubernetes.facts import (
    Container,
    Events,
    Part,
    condition,
    containers_of,
    holds,
    moment,
    own_container,
)
from controller.engine.kubernetes.findings import (
    COMMAND_HINT,
    EVICTED_HINT,
    FOREGROUND_HINT,
    HANDLER_HINT,
    LISTEN_HINT,
    LIVENESS_HINT,
    MEMORY_HINT,
    NODE_HINT,
    OPERATOR_HINT,
    PLACE_HINT,
    READINESS_HINT,
    TAGS_HINT,
    VOLUME_HINT,
    Finding,
    LogSource,
    own_words,
)
from controller.engine.kubernetes.reasons_start import (
    IMAGE_REASONS,
    of_creation,
    of_image,
    of_settings,
    of_start_error,
    of_unknown,
)
from shared.kubernetes.kinds import Manifest

PATIENCE: Final = 3
"""So often has a new process to end before that is a failure, as for the local engine."""

_NOT_EXECUTABLE, _NOT_FOUND = 126, 127
_NO_START: Final = ("StartError", "ContainerCannotRun", "RunContainerError")
_NO_SANDBOX: Final = ("CreatePodSandboxError", "ConfigPodSandboxError", "PreCreateHookError", "PreStartHookError")
_EVICTED: Final = ("Evicted", "Preempting", "Preempted", "Shutdown", "NodeShutdown", "Terminated", "Terminating")
_DISRUPTIONS: Final = ("EvictionByEvictionAPI", "PreemptionByScheduler", "TerminationByKubelet")
_LOST: Final = ("DeletionByTaintManager", "DeletionByPodGC")
_NOT_PLACED: Final = re.compile(
    r"^(OutOf\w+|UnexpectedAdmissionError|Node(Affinity|Name|Ports|Unschedulable)|Admission\w*)$"
)
_PREEMPTION: Final = re.compile(r",? ?(no new claims to deallocate, ?)?preemption: .*$")
_VOLUME_WORDS: Final = ("persistentvolumeclaim", "volume node affinity", "bind volume")
_PLACE_HINTS: Final = {"affinity/selector": TAGS_HINT, "Insufficient": PLACE_HINT}
_NO_CONNECTION: Final = ("connection refused", "dial tcp", "no route to host")
_KILLED_BY: Final = re.compile(r"failed (liveness|startup) probe")


def of_pod(pod: Manifest, events: Events, now: datetime, *, ptype: str) -> Finding | None:
    """Why it is not ready, or why it ended badly; None when nothing can be told. `ptype` is for the words."""
    status = pod.get("status") or {}
    lost = _of_disruption(pod, status)
    if lost is not None:
        return lost
    own = own_container(pod)
    for container in sorted(containers_of(pod), key=lambda one: (not one.is_init, one != own)):
        # A pod that is ready is only asked about while it may be between two ends.
        blameless = container.ready and not (container == own and container.ended and holds(pod, "Ready"))
        found = None if blameless else _of_container(pod, container, events, now, ptype)
        if found is not None:
            return _with_log(pod, container, found)
    if status.get("phase") == "Failed":
        return of_unknown(str(status.get("reason") or "the pod failed"), status.get("message") or "")
    return _of_place(pod, events)


def _of_container(pod: Manifest, container: Container, events: Events, now: datetime, ptype: str) -> Finding | None:
    if container.is_init and container.ended.get("exitCode") == 0:
        return None
    waiting = str(container.waiting.get("reason") or "")
    if waiting in ("ContainerCreating", "PodInitializing"):
        return of_creation(pod, container, events, now) if waiting == "ContainerCreating" else None
    if waiting and waiting != "CrashLoopBackOff":
        return _of_waiting(pod, container, waiting, events, now)
    if container.ended:
        return _of_end(pod, container, events, ptype)
    return None if container.running is None else _of_probe(pod, container, events, ptype)


def _of_waiting(pod: Manifest, container: Container, reason: str, events: Events, now: datetime) -> Finding:
    message = container.waiting.get("message")
    if reason in IMAGE_REASONS:
        return of_image(pod, container, events, now)
    if reason == "CreateContainerConfigError":
        return of_settings(container)
    if reason in ("RunContainerError", "CreateContainerError"):
        return of_start_error(str(message or reason), container.ends, patience=PATIENCE)
    if reason == "PostStartHookError":
        return _of_handler(container)
    if reason in _NO_SANDBOX:
        return replace(of_unknown(reason, message), message=f"it could not be started: {own_words(message or reason)}")
    return of_unknown(reason, message)


def _of_end(pod: Manifest, container: Container, events: Events, ptype: str) -> Finding:
    """It ended. Its settings never change, so that the same comes out of it again."""
    ended = container.ended
    reason, often = str(ended.get("reason") or ""), container.ends >= PATIENCE
    what = f"the {ptype} process" if not container.is_init else f"the step {container.name} before the {ptype} process"
    if reason in _NO_START:
        return of_start_error(str(ended.get("message") or reason), container.ends, patience=PATIENCE)
    if reason == "OOMKilled":
        limit = _memory_of(pod, container)
        text = f"{what} needed more memory than its limit{limit} and was ended"
        return Finding("out-of-memory", text, MEMORY_HINT.format(ptype=ptype), often)
    killed = _of_killing(pod, container, events, what)
    if killed is not None:
        return killed.fatal(often)
    if reason == "ContainerStatusUnknown":
        return Finding("node-lost", f"nobody knows how {what} ended: {own_words(ended.get('message'))}", NODE_HINT)
    return _of_exit(container, what, ptype)


def _of_exit(container: Container, what: str, ptype: str) -> Finding:
    reason, exit_code = str(container.ended.get("reason") or ""), int(container.ended.get("exitCode") or 0)
    often = container.ends >= PATIENCE
    if exit_code == 0:
        text = f"{what} ended at once, without an error (exit code 0)"
        return Finding("process-exited", text, FOREGROUND_HINT, often, exit_code=0)
    if exit_code in (_NOT_EXECUTABLE, _NOT_FOUND):
        how = "cannot be executed" if exit_code == _NOT_EXECUTABLE else "was not found"
        text = f"a program of the {ptype} command {how} (exit code {exit_code})"
        return Finding("command-not-found", text, COMMAND_HINT, often, exit_code=exit_code)
    # Reasons that are not known are told as they are.
    odd = "" if reason in ("Error", "Completed", "") else f" ({reason})"
    text = f"{what} ended with {describe_exit(exit_code)}{odd} before it was ready"
    return Finding("process-crashed", text, is_fatal=often, exit_code=exit_code)


def _of_killing(pod: Manifest, container: Container, events: Events, what: str) -> Finding | None:
    """The kubelet ended it: for a check that it did not pass, or a handler that failed."""
    began = moment(container.ended.get("startedAt"))
    killings = events.of_pod(pod, "Killing", "FailedPostStartHook", container=container.name)
    killing = killings[-1] if killings else None
    if killing is None or (began is not None and killing.last < began):
        return None
    if killing.reason == "FailedPostStartHook" or "PostStart" in killing.note:
        return _of_handler(container)
    check = _KILLED_BY.search(killing.note)
    if check is None:
        return None
    said = _last_refusal(pod, container, events, check[1].capitalize())
    text = f"{what} did not pass its {check[1]} check and was ended{said}"
    return Finding("liveness-refused", text, LIVENESS_HINT)


def _of_handler(container: Container) -> Finding:
    text = "its postStart command failed, so that it was ended"
    return Finding("post-start-failed", text, HANDLER_HINT, container.ends >= PATIENCE)


def _of_probe(pod: Manifest, container: Container, events: Events, ptype: str) -> Finding | None:
    """It runs and is not ready now: its latest refusal counts, not one of the past (weakness 6)."""
    refusals = [
        happening.note
        for happening in events.of_pod(pod, "Unhealthy", container=container.name)
        if not happening.note.startswith("Liveness")
    ]
    if not refusals:
        return None
    kind, _, said = own_words(refusals[-1]).partition(" probe failed:")
    if any(mark in said for mark in _NO_CONNECTION):
        text = f"the {ptype} process runs but does not listen where its {kind.lower()} check looks: {said.strip()}"
        return Finding("never-listened", text, LISTEN_HINT)
    words = f": {said.strip()}" if said.strip() else ""
    return Finding("readiness-refused", f"the {kind.lower()} check was refused{words}", READINESS_HINT)


def _of_place(pod: Manifest, events: Events) -> Finding | None:
    """No machine takes it. A new machine may come, so that it is nothing final (weakness 4)."""
    scheduled = condition(pod, "PodScheduled")
    if scheduled.get("status") != "False":
        return None
    told = events.of_pod(pod, "FailedScheduling")
    message = str(scheduled.get("message") or (told[-1].note if told else scheduled.get("reason") or ""))
    words = _PREEMPTION.sub("", own_words(message)).strip()
    if any(word in message.lower() for word in _VOLUME_WORDS):
        more = "".join(f"; {text}" for text in _claim_words(pod, events))
        return Finding("mount-failed", f"a volume is not there: {words}{more}", VOLUME_HINT)
    hints = (hint for mark, hint in _PLACE_HINTS.items() if mark in message)
    hint = next(hints, OPERATOR_HINT)
    return Finding("unschedulable", f"no machine can run it: {words}", hint)


def _of_disruption(pod: Manifest, status: Part) -> Finding | None:
    """It was taken off its machine, or the machine is away."""
    reason, message = str(status.get("reason") or ""), own_words(status.get("message"))
    disruption = condition(pod, "DisruptionTarget")
    told = str(disruption.get("reason") or "") if disruption.get("status") == "True" else ""
    words = message or own_words(disruption.get("message")) or reason or told
    if reason == "NodeLost" or told in _LOST or status.get("phase") == "Unknown":
        return Finding("node-lost", f"its machine was lost: {words}".removesuffix(": "), NODE_HINT)
    if status.get("phase") == "Failed" and _NOT_PLACED.match(reason):
        return Finding("unschedulable", f"its machine did not take it: {words}", PLACE_HINT)
    if reason in _EVICTED or told in _DISRUPTIONS:
        return Finding("evicted", f"it was taken off its machine: {words}", EVICTED_HINT)
    if reason == "DeadlineExceeded":
        return Finding("deadline-exceeded", f"it ran longer than it may: {words}")
    return None


def _claim_words(pod: Manifest, events: Events) -> list[str]:
    volumes = (pod.get("spec") or {}).get("volumes") or ()
    claims = [str((volume.get("persistentVolumeClaim") or {}).get("claimName") or "") for volume in volumes]
    found = [
        events.of("PersistentVolumeClaim", claim, "ProvisioningFailed", "FailedBinding") for claim in claims if claim
    ]
    return [own_words(happenings[-1].note) for happenings in found if happenings]


def _last_refusal(pod: Manifest, container: Container, events: Events, kind: str) -> str:
    notes = [happening.note for happening in events.of_pod(pod, "Unhealthy", container=container.name)]
    said = [own_words(note).partition(" probe failed:")[2].strip() for note in notes if note.startswith(kind)]
    return f": {said[-1]}" if said and said[-1] else ""


def _memory_of(pod: Manifest, container: Container) -> str:
    spec = pod.get("spec") or {}
    listed = spec.get("initContainers" if container.is_init else "containers") or ()
    limits = [(one.get("resources") or {}).get("limits") or {} for one in listed if one.get("name") == container.name]
    return f" of {limits[0]['memory']}" if limits and "memory" in limits[0] else ""


def _with_log(pod: Manifest, container: Container, found: Finding) -> Finding:
    has_output = container.running is not None or (container.ended and container.ended.get("reason") not in _NO_START)
    if not has_output:
        return found
    previous = container.running is not None and found.exit_code is not None
    previous = previous or (container.running is not None and found.code == "out-of-memory")
    name = str((pod.get("metadata") or {}).get("name", ""))
    return replace(found, log_source=LogSource(name, container.name, previous))
