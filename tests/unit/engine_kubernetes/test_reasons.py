"""Reasons, on states of a real cluster and on those that could not be had from one."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.engine.exits import crash_hint
from controller.engine.kubernetes.facts import Events, Seen
from controller.engine.kubernetes.findings import Finding
from controller.engine.kubernetes.observe import Look
from controller.engine.kubernetes.reasons import explain, of_refused_pod, processes_of
from shared.kubernetes.kinds import Manifest
from support.kubernetes_seen import (
    NOW,
    OLD,
    RECORDED,
    ago,
    deployment,
    ended,
    event,
    pod,
    ready_pod,
    recorded,
    seen_of,
    waiting,
)

FATAL, LATER = True, False
UNREADY = {"readyReplicas": 0, "availableReplicas": 0}
LATE = {"conditions": [{"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}]}


def explained(seen: Seen, now: Any = NOW) -> Finding | None:
    """What explains the one process type of it."""
    (process,) = processes_of(seen)
    return explain(process, Events(seen.events), now)


def fatal(seen: Seen, now: Any = NOW) -> Finding | None:
    """What is final about the one process type of it."""
    found = Look("shop", seen, now).failures
    assert len(found) <= 1
    return next(iter(found.values()), None)


def of(one: Manifest, *events: Manifest) -> Finding:
    """What explains one unready pod."""
    found = explained(seen_of(deployment(status=UNREADY), one, *events))
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "code", "is_fatal", "words"),
    [
        ("image-not-found", "image-not-found", FATAL, "there is no image registry.kube-system.svc:5000/ann/none:9"),
        ("image-tag-not-found", "image-not-found", FATAL, "there is no image busybox:no-such-tag"),
        ("image-never", "image-not-found", FATAL, "not present with pull policy of Never"),
        ("image-denied", "image-denied", FATAL, "401 Unauthorized"),
        ("image-forbidden", "image-denied", FATAL, "403 Forbidden"),
        ("image-name", "image-invalid", FATAL, "'Not A Name' is not the name of an image"),
        ("image-host", "image-unavailable", LATER, "no such host"),
        ("image-port", "image-unavailable", LATER, "connection refused"),
        ("image-busy", "image-unavailable", LATER, "429 Too Many Requests"),
        ("image-broken", "image-unavailable", LATER, "500 Internal Server Error"),
        ("image-slow", "image-slow", LATER, "registry.example/ann/slow:1 is still being pulled after 294 s"),
        ("config", "config-error", FATAL, "couldn't find key missing in Secret"),
        ("config-no-secret", "config-error", FATAL, 'secret "tidepool-none" not found'),
        ("root", "config-error", FATAL, "it may not run as root"),
        ("command", "command-not-found", FATAL, 'exec: "no-such-program": executable file not found in $PATH'),
        ("permission", "command-not-found", FATAL, "stat /etc/passwd: no such file or directory"),
        ("shell-127", "command-not-found", FATAL, "exit code 127"),
        ("workdir", "start-failed", FATAL, "unable to setup user"),
        ("sub-path", "mount-failed", FATAL, "error mounting"),
        ("crash", "process-crashed", FATAL, "the crash process ended with exit code 3"),
        ("flicker", "process-crashed", FATAL, "the flicker process ended with exit code 3"),
        ("rollout", "process-crashed", FATAL, "the rollout process ended with exit code 3"),
        ("exit-zero", "process-exited", FATAL, "ended at once, without an error (exit code 0)"),
        ("memory", "out-of-memory", FATAL, "more memory than its limit of 16Mi"),
        ("init-crash", "process-crashed", FATAL, "the step setup before the init-crash process ended with exit code 5"),
        ("init-image", "image-not-found", FATAL, "there is no image"),
        ("liveness", "liveness-refused", FATAL, "did not pass its liveness check"),
        ("startup", "liveness-refused", FATAL, "did not pass its startup check and was ended: dial tcp"),
        ("post-start", "post-start-failed", FATAL, "its postStart command failed"),
        ("unschedulable", "unschedulable", LATER, "didn't match Pod's node affinity/selector."),
        ("too-much", "unschedulable", LATER, "0/1 nodes are available: 1 Insufficient cpu."),
        ("claim-unbound", "mount-failed", LATER, 'storageclass.storage.k8s.io "tidepool-none" not found'),
        ("claim-missing", "mount-failed", LATER, 'persistentvolumeclaim "tidepool-no-claim" not found'),
        ("mount", "mount-failed", LATER, 'MountVolume.SetUp failed for volume "v" : secret "tidepool-none" not found'),
        ("readiness", "readiness-refused", LATER, "HTTP probe failed with statuscode: 404"),
        ("readiness-closed", "never-listened", LATER, "connect: connection refused"),
        ("deadline", "readiness-refused", FATAL, "the readiness check was refused"),
        ("quota", "quota-exceeded", FATAL, "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0"),
        ("admission", "admission-denied", FATAL, 'violates PodSecurity "restricted:latest"'),
    ],
)
def test_weakness_5_every_recorded_state_has_a_reason(name: str, code: str, is_fatal: bool, words: str) -> None:
    seen, now = recorded(name)
    found = explained(seen, now)
    assert found is not None
    assert (found.code, words in found.message) == (code, True), found.message
    assert "uid" not in found.message or name == "sub-path"
    assert found.failure("web").hint
    assert (fatal(seen, now) is not None) is is_fatal


@pytest.mark.parametrize("name", ["up", "terminating", "once"])
def test_what_runs_has_no_reason(name: str) -> None:
    seen, now = recorded(name)
    assert explained(seen, now) is None
    assert fatal(seen, now) is None


def test_every_recorded_state_of_a_process_type_is_tested_above() -> None:
    (mark,) = test_weakness_5_every_recorded_state_has_a_reason.pytestmark  # type: ignore[attr-defined]
    tested = {case[0] for case in mark.args[1]} | {"up", "terminating", "once"}
    assert tested == {path.stem for path in RECORDED.glob("*.json") if not path.stem.startswith("job-")}


def test_the_log_comes_from_where_the_last_lines_are() -> None:
    crash = explained(*recorded("crash"))
    assert crash is not None
    assert crash.log_source is not None
    assert (crash.log_source.container, crash.log_source.previous) == ("tidepool-crash", False)
    again = of(pod(state={"running": {}}, last=ended(3), restarts=2))
    assert again.log_source is not None
    assert again.log_source.previous
    for name in ("command", "image-denied", "unschedulable"):  # nothing ran
        found = explained(*recorded(name))
        assert found is not None
        assert found.log_source is None


def test_the_log_says_what_to_do_about_a_crash() -> None:
    found = of(pod(state=waiting("CrashLoopBackOff"), last=ended(1), restarts=0))
    failure = found.failure("web", ["ModuleNotFoundError: No module named 'flask'"])
    assert failure.log == ("ModuleNotFoundError: No module named 'flask'",)
    assert "requirements.txt" in failure.hint
    assert "PORT" in crash_hint(["OSError: [Errno 98] Address already in use"], 1)
    assert "memory" in crash_hint([], 137)


@pytest.mark.parametrize(
    ("restarts", "state", "is_fatal"),
    [
        (0, {"terminated": ended(3)}, False),
        (1, waiting("CrashLoopBackOff"), False),
        (2, {"running": {"startedAt": ago(1)}}, False),
        (2, waiting("CrashLoopBackOff"), True),
        (2, {"terminated": ended(3)}, True),
        (3, {"running": {"startedAt": ago(1)}}, True),
    ],
)
def test_a_crash_is_final_when_it_has_ended_three_times(restarts: int, state: dict[str, Any], is_fatal: bool) -> None:
    seen = seen_of(deployment(status=UNREADY), pod(state=state, last=ended(3) if restarts else None, restarts=restarts))
    found = fatal(seen)
    assert (found is not None) is is_fatal
    assert found is None or (found.code, found.exit_code) == ("process-crashed", 3)


@pytest.mark.parametrize("tries", [1, 2])
def test_an_image_is_missing_for_good_when_the_kubelet_has_tried_twice(tries: int) -> None:
    text = 'ErrImagePull: failed to resolve reference "x/y:1": x/y:1: not found'
    one = pod(phase="Pending", state=waiting("ErrImagePull", text), age=5)
    seen = seen_of(deployment(status=UNREADY), one, event("Pulling", "Pulling image", times=tries))
    assert (fatal(seen) is not None) is (tries == 2)
    unheard = pod(phase="Pending", state=waiting("ImagePullBackOff", text), age=5 if tries == 1 else 31)
    assert (fatal(seen_of(deployment(status=UNREADY), unheard)) is not None) is (tries == 2)


def test_an_older_kubelet_tells_in_an_event_why_it_backs_off() -> None:
    one = pod(phase="Pending", state=waiting("ImagePullBackOff", 'Back-off pulling image "x/y:1"'))
    told = event("Failed", 'Failed to pull image "x/y:1": pull access denied, may require authorization')
    assert of(one, told).code == "image-denied"


def test_weakness_3_a_slow_pull_is_no_failure_even_when_the_deployment_gives_up() -> None:
    one = pod(phase="Pending", state=waiting("ContainerCreating"))
    pulling = event("Pulling", "Pulling image", age=700)
    seen = seen_of(deployment(status={**UNREADY, **LATE}), one, pulling)
    assert fatal(seen) is None
    found = explained(seen)
    assert found is not None
    assert (found.code, "after 700 s" in found.message) == ("image-slow", True)
    assert explained(seen_of(deployment(status=UNREADY), one, pulling, event("Pulled", "Pulled", age=1))) is None


def test_weakness_4_what_finds_no_machine_waits_until_the_deadline_and_then_says_why() -> None:
    seen, now = recorded("unschedulable")
    assert fatal(seen, now) is None
    (one,) = seen.deployments
    one["status"]["conditions"] = LATE["conditions"]
    found = fatal(seen, now)
    assert found is not None
    assert (found.code, "node affinity/selector" in found.message) == ("unschedulable", True)
    assert "drycc tags" in found.hint


def test_weakness_6_a_refusal_of_the_past_is_no_reason_for_a_ready_pod() -> None:
    refused = event("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 503", times=9)
    assert explained(seen_of(deployment(), ready_pod(), refused)) is None


@pytest.mark.parametrize("said", ["connect: connection refused", "i/o timeout", "connect: no route to host"])
def test_what_takes_no_connection_does_not_listen(said: str) -> None:
    text = f"Readiness probe failed: dial tcp 10.1.2.3:5000: {said}"
    found = of(pod(state={"running": {}}), event("Unhealthy", text))
    assert (found.code, said in found.message) == ("never-listened", True)


def test_what_happened_within_a_second_is_told_in_its_order() -> None:
    """The scheduler tells microseconds, the kubelet seconds; both name an event after the nanosecond of the first."""
    last, said = ago(5), {"namespace": "tidepool"}
    scheduled = event("Scheduled", "assigned")
    scheduled |= {"eventTime": last.replace("Z", ".600000Z"), "deprecatedLastTimestamp": None}
    scheduled["metadata"] = {**said, "name": "one.18ea1c213cc9636d"}
    pulled, started = event("Pulled", "there"), event("Started", "running")
    pulled["metadata"] = {**said, "name": "one.18ea1c2375999463"}
    started["metadata"] = {**said, "name": "one.18ea1c2375999470"}
    happened = Events([started, pulled, scheduled]).about("Pod", "one")
    assert [happening.reason for happening in happened] == ["Scheduled", "Pulled", "Started"]


def test_weakness_1_a_deployment_out_of_time_has_failed_whatever_else_is_known() -> None:
    found = fatal(seen_of(deployment(status={**UNREADY, **LATE}), pod(state={"running": {}})))
    assert found is not None
    assert found.code == "deadline-exceeded"
    assert fatal(seen_of(deployment(status=UNREADY), pod(state={"running": {}}))) is None


def test_time_in_which_the_cluster_was_away_is_not_held_against_a_deployment() -> None:
    """The cluster counts it, as soon as it is there again, although it could do nothing meanwhile."""
    late = {"conditions": [{**LATE["conditions"][0], "lastUpdateTime": ago(10)}]}
    one = deployment(status={**UNREADY, **late})
    one["spec"]["progressDeadlineSeconds"] = 120
    seen = seen_of(one, pod(state={"running": {}}))
    for back, is_told in ((5000, True), (11, False), (100, False), (140, True)):
        found = fatal(replace(seen, heard_since=NOW - timedelta(seconds=back)))
        assert (found is not None) == is_told, back


def test_weakness_10_what_a_status_says_of_an_older_spec_does_not_count() -> None:
    stale = deployment(generation=4, status={**UNREADY, **LATE, "observedGeneration": 3})
    assert fatal(seen_of(stale, pod(state={"running": {}}))) is None
    crash = pod(state=waiting("CrashLoopBackOff"), last=ended(1), restarts=9, fingerprint=OLD)
    assert explained(seen_of(deployment(status=UNREADY), crash)) is None


def test_weakness_2_a_quota_is_seen_when_it_comes_and_passes_while_old_pods_end() -> None:
    text = "(combined from similar events): Error creating: "
    text += 'pods "a-b-c" is forbidden: exceeded quota: apps, requested: pods=1, used: pods=3, limited: pods=3'
    early, late = (of_refused_pod(text, NOW - timedelta(seconds=age), NOW) for age in (5, 31))
    assert (early.code, early.is_fatal, late.is_fatal) == ("quota-exceeded", False, True)
    assert early.message.endswith("process: exceeded quota: apps, requested: pods=1, used: pods=3, limited: pods=3")


@pytest.mark.parametrize(
    ("text", "code", "is_fatal"),
    [
        ('pods "x" is forbidden: failed quota: q: must specify limits.cpu', "quota-exceeded", True),
        ('admission webhook "policy.example" denied the request: no root', "admission-denied", True),
        ('pods "x" is forbidden: maximum cpu usage per Container is 1, but limit is 2', "admission-denied", True),
        ('Pod "x" is invalid: spec.containers[0].name: Required value', "admission-denied", True),
        ('failed calling webhook "policy.example": connection refused', "admission-denied", False),
        ('pods "x" is forbidden: error looking up service account a/app: not found', "start-failed", False),
        ("etcdserver: request timed out", "start-failed", False),
    ],
)
def test_refusals_of_the_api_server(text: str, code: str, is_fatal: bool) -> None:
    found = of_refused_pod(text, NOW, NOW)
    assert (found.code, found.is_fatal) == (code, is_fatal)


@pytest.mark.parametrize(
    ("one", "code", "words"),
    [
        (pod(phase="Failed", reason="Evicted", message="The node was low on memory."), "evicted", "low on memory"),
        (pod(phase="Unknown"), "node-lost", "its machine was lost"),
        (pod(state={"running": {}}, reason="NodeLost"), "node-lost", "NodeLost"),
        (
            pod(
                phase="Failed",
                conditions=({"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"},),
            ),
            "node-lost",
            "DeletionByTaintManager",
        ),
        (
            pod(
                state={"running": {}},
                conditions=({"type": "DisruptionTarget", "status": "True", "reason": "PreemptionByScheduler"},),
            ),
            "evicted",
            "PreemptionByScheduler",
        ),
        (pod(phase="Failed", reason="OutOfmemory", message="Pod was rejected"), "unschedulable", "Pod was rejected"),
        (pod(phase="Failed", reason="Odd", message="as told"), "start-failed", "Odd: as told"),
        (
            pod(phase="Pending", state=waiting("BrandNewReason", "in its words")),
            "start-failed",
            "BrandNewReason: in its words",
        ),
        (pod(state={"terminated": ended(9, "BrandNewEnd")}), "process-crashed", "(BrandNewEnd)"),
        (pod(state={"terminated": ended(137, "ContainerStatusUnknown")}), "node-lost", "nobody knows"),
        (pod(phase="Pending", state=waiting("CreatePodSandboxError", "no network")), "start-failed", "no network"),
        (pod(phase="Pending", state=waiting("PostStartHookError", "x")), "post-start-failed", "postStart"),
        (
            pod(state=waiting("RunContainerError", 'exec: "/run.sh": permission denied: unknown')),
            "command-not-found",
            "cannot be executed",
        ),
        (
            pod(phase="Pending", state=waiting("CreateContainerError", "no command specified")),
            "command-not-found",
            "not found",
        ),
        (pod(state={"terminated": ended(126)}), "command-not-found", "cannot be executed (exit code 126)"),
        (pod(state={"terminated": ended(143)}), "process-crashed", "signal SIGTERM"),
    ],
)
def test_states_that_could_not_be_recorded(one: Manifest, code: str, words: str) -> None:
    found = of(one)
    assert (found.code, words in found.message) == (code, True), found


def test_settings_that_the_kubelet_has_not_read_yet_are_no_failure() -> None:
    text = "failed to sync secret cache: timed out waiting for the condition"
    one = pod(phase="Pending", state=waiting("CreateContainerConfigError", text))
    assert fatal(seen_of(deployment(status=UNREADY), one)) is None


def test_a_sandbox_that_fails_and_a_volume_that_does_not_come_are_told_by_events() -> None:
    one = pod(phase="Pending", state=waiting("ContainerCreating"))
    assert of(one, event("FailedCreatePodSandBox", "no IP addresses")).code == "start-failed"
    assert of(one, event("FailedAttachVolume", "Multi-Attach error")).code == "mount-failed"


def test_weakness_41_evicted_pods_without_containers_are_final_when_there_are_three() -> None:
    pods = [pod(str(n), phase="Failed", reason="Evicted", message="disk") for n in range(3)]
    assert fatal(seen_of(deployment(status=UNREADY), *pods[:2])) is None
    found = fatal(seen_of(deployment(status=UNREADY), *pods))
    assert found is not None
    assert found.code == "evicted"
    healthy = seen_of(deployment(2, status={"readyReplicas": 1}), *pods, ready_pod())
    assert fatal(healthy) is None


def test_what_is_final_counts_more_than_what_may_pass_and_the_newest_of_equals() -> None:
    crash = pod("a", state=waiting("CrashLoopBackOff"), last=ended(4), restarts=3, age=90)
    unplaced = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    later = pod("b", phase="Pending", conditions=(unplaced,), age=5)
    found = explained(seen_of(deployment(2, status=UNREADY), later, crash))
    assert found is not None
    assert found.code == "process-crashed"
    newest = pod("c", state={"terminated": ended(5)}, age=1)
    first = pod("d", state={"terminated": ended(6)}, age=80)
    found = explained(seen_of(deployment(2, status=UNREADY), newest, first))
    assert found is not None
    assert found.exit_code == 5


def test_a_pod_of_a_mesh_does_not_hide_the_process() -> None:
    one = pod(state=waiting("CrashLoopBackOff"), last=ended(3), restarts=2)
    sidecar = {"name": "aaa", "ready": False, "restartCount": 0, "state": waiting("ImagePullBackOff", "not found")}
    one["status"]["containerStatuses"].insert(0, sidecar)
    assert of(one).code == "process-crashed"


def test_events_of_an_earlier_pod_of_the_same_name_do_not_count() -> None:
    one = pod(phase="Pending", state=waiting("ContainerCreating"))
    one["metadata"]["uid"] = "new"
    stale = event("FailedMount", "of before")
    stale["regarding"]["uid"] = "old"
    assert explained(seen_of(deployment(status=UNREADY), one, stale)) is None
