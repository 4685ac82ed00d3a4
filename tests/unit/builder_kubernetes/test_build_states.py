"""What the status of a build's pod and Job means, in the words that the pusher reads."""

from __future__ import annotations

import json
from typing import Any

import pytest

from builder.runner.kubernetes.states import (
    containers_of,
    failure_of,
    failure_of_job,
    has_started,
    images_of,
    is_over,
    why_waiting,
)

CANCELLED = {"error": {"code": "cancelled", "message": "the build was cancelled", "hint": ""}}
PUSHED = {"error": {"code": "disk-full", "message": "no space", "hint": "free some"}}
# As Kubernetes 1.31 words them: a drained machine, and one that has not answered for five minutes.
DRAINED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "EvictionByEvictionAPI",
    "message": "Eviction API: evicting",
}
LOST = {**DRAINED, "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint"}
IMAGES = {"web": "registry/shop/shop@sha256:1", "worker": "registry/shop/shop@sha256:2"}


def pod(*states: dict[str, Any], **status: Any) -> dict[str, Any]:
    """A pod of two containers, `fetch` before `build`, in these states."""
    first, last = (*states, {}, {})[:2]
    return {
        "metadata": {"name": "build-shop-1-x"},
        "spec": {"activeDeadlineSeconds": 60, "initContainers": [{"name": "fetch"}], "containers": [{"name": "build"}]},
        "status": {
            "initContainerStatuses": [{"name": "fetch", "state": first}],
            "containerStatuses": [{"name": "build", "state": last}],
            **status,
        },
    }


def over(code: int = 0, *, reason: str = "", message: object = "") -> dict[str, Any]:
    text = message if isinstance(message, str) else json.dumps(message)
    return {"terminated": {"exitCode": code, "reason": reason, "message": text}}


def deleted(manifest: dict[str, Any]) -> dict[str, Any]:
    manifest["metadata"]["deletionTimestamp"] = "2026-01-05T10:00:00Z"
    return manifest


def waiting(reason: str, message: str = "") -> dict[str, Any]:
    return {"waiting": {"reason": reason, "message": message}}


def test_containers_come_in_the_order_in_which_they_run() -> None:
    assert containers_of(pod()) == ("fetch", "build")


def test_the_images_are_those_of_the_report() -> None:
    assert images_of(pod(over(), over(message={"images": IMAGES}), phase="Succeeded")) == IMAGES
    assert images_of(pod(over(), over(message="no JSON"))) is None
    assert images_of(pod(over(), over(message={"images": {"web": 1}}))) is None
    assert images_of(pod(over(), over(message={"images": {}}))) is None


def test_a_container_has_started_when_it_runs_or_has_run() -> None:
    seen = pod(over(), {"running": {}})
    assert has_started(seen, "fetch")
    assert has_started(seen, "build")
    assert not has_started(pod(waiting("PodInitializing")), "fetch")
    assert not is_over(seen)


def test_being_on_its_way_is_no_reason() -> None:
    assert why_waiting(pod(waiting("ContainerCreating"), waiting("PodInitializing"))) is None


def test_a_pod_that_no_machine_takes_says_why() -> None:
    condition = {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available: 1 Insufficient cpu."}
    assert why_waiting(pod(conditions=[condition])) == f"no machine takes it: {condition['message']}"


def test_an_image_that_cannot_be_pulled_is_told() -> None:
    told = why_waiting(pod(waiting("ImagePullBackOff", 'Back-off pulling image "imagebuilder:9"')))
    assert told == 'fetch cannot start (ImagePullBackOff): Back-off pulling image "imagebuilder:9"'


def test_nothing_is_heard_any_more_of_a_pod_whose_machine_is_lost() -> None:
    """Its phase stays `Running`, for nobody is there to change it."""
    assert is_over(pod(over(), {"running": {}}, phase="Running", conditions=[LOST]))
    assert not is_over(pod(over(), {"running": {}}, phase="Running", conditions=[DRAINED]))
    assert not is_over(pod(over(), {"running": {}}, phase="Running", conditions=[{**LOST, "status": "False"}]))


@pytest.mark.parametrize(
    ("seen", "code", "words"),
    [
        (
            pod(over(), over(1, message={"error": {"code": "disk-full", "message": "no space", "hint": "free some"}})),
            "disk-full",
            "no space",
        ),
        (pod(over(), over(137, reason="OOMKilled")), "build-failed", "build ran out of memory"),
        (pod(over(2, message="what it said\n")), "build-failed", "fetch ended with status 2: what it said"),
        (pod(over(), over(1, message={"error": {"code": "of another time"}})), "build-failed", "status 1"),
        (pod(over(), over(143), reason="DeadlineExceeded"), "build-timeout", "took too long"),
        (pod(reason="Evicted", message="ephemeral-storage usage exceeds 1Gi"), "disk-limit", "exceeds 1Gi"),
        (pod(message="Node is shutting down"), "interrupted", "Node is shutting down"),
        (
            pod(over(), over(1, message=CANCELLED), reason="Terminated", message="Pod was terminated: node shutdown."),
            "interrupted",
            "Pod was terminated: node shutdown.",
        ),
        (pod(over(), over(1, message=CANCELLED), conditions=[DRAINED]), "interrupted", "Eviction API: evicting"),
        (pod(over(), over(1, message=CANCELLED)), "interrupted", "was stopped from outside"),
        (pod(over(137), conditions=[DRAINED]), "interrupted", "Eviction API: evicting"),
        (deleted(pod(over(), over(137, reason="Error"))), "interrupted", "its pod was deleted"),
        (pod(over(), over(137, reason="Error")), "build-failed", "status 137"),
        (pod(over(), over(2, message=PUSHED), conditions=[DRAINED]), "disk-full", "no space"),
        (pod(over(), over(137, reason="OOMKilled"), conditions=[DRAINED]), "build-failed", "ran out of memory"),
        (
            pod(reason="Evicted", message="The node was low on resource: memory. Threshold quantity: 100Mi."),
            "interrupted",
            "low on resource: memory",
        ),
        (pod(over(), {"running": {}}, phase="Running", conditions=[LOST]), "interrupted", "Taint manager: deleting"),
    ],
)
def test_every_end_has_a_code_and_words(seen: dict[str, Any], code: str, words: str) -> None:
    error = failure_of(seen)
    assert error.code == code
    assert words in error.message


def test_a_job_whose_pod_is_gone_says_what_became_of_it() -> None:
    condition = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded"}
    timeout = failure_of_job({"status": {"conditions": [condition]}})
    lost = failure_of_job({"status": {"conditions": [{**condition, "reason": "BackoffLimitExceeded"}]}})
    assert timeout is not None
    assert timeout.code == "build-timeout"
    assert lost is not None
    assert (lost.code, lost.message) == ("interrupted", "the build's pod was lost: BackoffLimitExceeded")
    assert failure_of_job({"status": {}}) is None
