"""Observations, on states of a real cluster and on those that could not be had from one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.spec import AppObservation, InstancePhase, JobState, PtypeState
from controller.engine.kubernetes.facts import Events, Seen
from controller.engine.kubernetes.kinds import kind_of
from controller.engine.kubernetes.observe import Look, instances
from controller.engine.kubernetes.observe_jobs import hopeless, job_state, pods_of
from controller.engine.kubernetes.observe_pods import instance_of, phase_of
from controller.engine.kubernetes.trim import entry_of
from shared.kubernetes.kinds import Manifest
from support.kubernetes_seen import (
    APP,
    NEW,
    NOW,
    OLD,
    RECORDED,
    ago,
    deployment,
    ended,
    event,
    going,
    job,
    job_pod,
    pod,
    ready_pod,
    recorded,
    seen_of,
    waiting,
)

LOG = ("last line",)


def state_of(*objects: Manifest) -> PtypeState:
    """The one process type."""
    (state,) = Look(APP, seen_of(*objects), NOW).observation().ptypes
    return state


def job_of(name: str) -> JobState:
    """A recorded one-off."""
    seen, now = recorded(name)
    return job_state("wanted", seen.jobs[0], pods_of(seen.jobs[0], seen.pods), Events(seen.events), now, log=LOG)


def outcome(one: Manifest, *pods: Manifest, events: tuple[Manifest, ...] = ()) -> JobState:
    """A built one-off."""
    return job_state("wanted", one, pods_of(one, pods), Events(events), NOW, log=LOG)


def test_nothing_is_an_empty_observation() -> None:
    assert Look(APP, seen_of(), NOW).observation() == AppObservation(APP)


def test_an_app_that_runs() -> None:
    seen, now = recorded("up")
    observed = Look(APP, seen, now).observation()
    assert observed.ptypes == (PtypeState("up", NEW, ready=2, updated=2, desired=2, settled=True),)
    assert [(one.state, one.ready, one.release, one.fingerprint) for one in observed.instances] == [
        ("up", True, 7, NEW)
    ] * 2
    assert all(one.started_at is not None and one.started_at.tzinfo is not None for one in observed.instances)


def test_a_rollout_that_fails_keeps_what_ran_before_and_says_why() -> None:
    seen, now = recorded("rollout")
    assert Look(APP, seen, now).failures["rollout"].log_source is not None
    state = Look(APP, seen, now).observation({"rollout": LOG}).ptypes[0]
    assert (state.ready, state.updated, state.desired, state.settled) == (3, 1, 3, False)
    assert state.failure is not None
    assert (state.failure.code, state.failure.ptype, state.failure.log) == ("process-crashed", "rollout", LOG)


@pytest.mark.parametrize(
    ("name", "state", "exit_code"),
    [
        ("unschedulable", "initializing", None),
        ("mount", "creating", None),
        ("image-slow", "creating", None),
        ("image-denied", "error", None),
        ("image-name", "error", None),
        ("config", "error", None),
        ("init-crash", "error", None),
        ("crash", "error", 3),
        ("command", "error", 128),
        ("memory", "error", 137),
        ("readiness", "starting", None),
        ("once", "up", 7),
    ],
)
def test_weakness_42_states_are_of_our_own_words(name: str, state: InstancePhase, exit_code: int | None) -> None:
    (one,) = instances(recorded(name)[0])
    assert (one.state, one.exit_code) == (state, exit_code)


def test_weakness_42_a_pod_that_is_to_go_is_terminating_while_it_still_runs() -> None:
    seen, now = recorded("terminating")
    assert {one.state for one in instances(seen)} == {"up", "terminating"}
    assert Look(APP, seen, now).observation().ptypes[0].settled  # one that ends already holds nobody up
    unready = going(pod(state={"running": {}}))
    assert phase_of(unready) == "terminating"


def test_every_recorded_state_has_a_state_name_of_ours() -> None:
    for path in RECORDED.glob("*.json"):
        seen, now = recorded(path.stem)
        for one in Look(APP, seen, now).observation().instances:
            assert one.state in get_args(InstancePhase)


@pytest.mark.parametrize(
    ("one", "state"),
    [
        (pod(phase="Pending"), "initializing"),
        (pod(phase="Pending", state=waiting("PodInitializing")), "initializing"),
        (pod(phase="Pending", state=waiting("NeverHeardOf")), "error"),
        (pod(phase="Failed", reason="Evicted"), "crashed"),
        (pod(phase="Succeeded"), "down"),
        (pod(phase="Unknown"), "error"),
        (pod(), "starting"),
        (pod(state={"terminated": ended(0)}), "error"),
        (pod(state={"terminated": ended(0)}, owner="Job"), "down"),
        (pod(state={"terminated": ended(2)}, owner="Job"), "crashed"),
        (going(pod(phase="Failed")), "crashed"),
        (pod(reason="NodeLost", state={"running": {}}), "error"),
        ({"kind": "Pod", "metadata": {"name": "bare"}}, "initializing"),
    ],
)
def test_weakness_41_a_pod_of_which_little_is_known(one: Manifest, state: InstancePhase) -> None:
    assert instance_of(one).state == state


def test_a_container_that_is_ready_in_a_pod_that_is_not() -> None:
    one = pod(state={"running": {}}, ready=True)
    one["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}]
    assert phase_of(one) == "starting"
    one["status"]["conditions"] = [{"type": "Ready", "status": "False"}]  # its machine is not heard of
    assert phase_of(one) == "error"
    assert not instance_of(one).ready


@pytest.mark.parametrize(
    "change",
    [
        {"observedGeneration": 0},
        {"updatedReplicas": 1},
        {"availableReplicas": 1},
        {"replicas": 3},
    ],
)
def test_weakness_1_settled_means_that_every_number_agrees(change: dict[str, int]) -> None:
    pods = (ready_pod("a"), ready_pod("b"))
    assert state_of(deployment(2), *pods).settled
    assert not state_of(deployment(2, status=change), *pods).settled


def test_weakness_11_numbers_are_compared_by_value() -> None:
    many = [ready_pod(str(n)) for n in range(300)]
    assert state_of(deployment(int("300")), *many).settled


def test_settled_needs_pods_that_are_ready_and_none_of_before() -> None:
    before = ready_pod("old", fingerprint=OLD)
    assert not state_of(deployment(), ready_pod(), before).settled
    assert state_of(deployment(), ready_pod(), going(before)).settled
    assert state_of(deployment(), ready_pod(), pod("old", fingerprint=OLD, phase="Failed", reason="Evicted")).settled
    ended_since = pod(state={"terminated": ended(1)})
    assert not state_of(deployment(), ended_since).settled


def test_scaled_to_nothing() -> None:
    none = {**deployment(0), "status": {"observedGeneration": 1}}
    assert state_of(none) == PtypeState("web", NEW, ready=0, updated=0, desired=0, settled=True)
    assert not state_of(none, ready_pod(fingerprint=OLD)).settled


def test_a_status_of_before_says_nothing_of_the_new_spec() -> None:
    state = state_of(deployment(3, generation=2, status={"observedGeneration": 1}))
    assert (state.fingerprint, state.updated, state.ready, state.settled) == (NEW, 0, 3, False)


def test_a_deployment_that_goes_or_is_not_ours_is_no_process_type() -> None:
    foreign = deployment()
    foreign["metadata"]["labels"] = {"app": APP, "type": "web"}
    assert Look(APP, seen_of(going(deployment()), foreign), NOW).observation().ptypes == ()


def test_a_process_that_ends_again_and_again_is_not_ready_in_between() -> None:
    slow = deployment(status={"availableReplicas": 0})
    slow["spec"]["minReadySeconds"] = 5
    began = {"running": {"startedAt": ago(2)}}
    again = pod(state=began, last=ended(1), restarts=3, ready=True)
    state = state_of(slow, again)
    assert state.failure is not None
    assert not state.settled


def test_restarts_are_those_of_the_process() -> None:
    one = pod(state={"running": {}}, last=ended(9), restarts=4)
    one["status"]["initContainerStatuses"] = [{"name": "init", "restartCount": 7, "state": {"terminated": ended(0)}}]
    told = instance_of(one)
    assert (told.restarts, told.exit_code) == (4, 9)
    assert told.started_at == NOW - timedelta(seconds=60)


def test_helpers_of_volumes_and_foreign_pods_are_not_listed() -> None:
    filer = job()
    filer["metadata"]["labels"]["type"] = "filer"
    foreign = ready_pod("foreign")
    foreign["metadata"]["labels"] = {"app": APP, "type": "web"}
    assert list(instances(seen_of(filer, foreign, pod("x", ptype="filer", owner="Job")))) == []


def test_weakness_43_one_offs_that_were_recorded() -> None:
    ok, failed, late = job_of("job-ok"), job_of("job-failed"), job_of("job-deadline")
    assert (ok.state, ok.exit_code, ok.reason, ok.log) == ("down", 0, None, LOG)
    assert ok.started_at is not None
    assert ok.ended_at is not None
    assert ok.started_at <= ok.ended_at
    assert (failed.state, failed.exit_code, failed.reason, failed.log) == ("crashed", 9, "process-crashed", LOG)
    assert (late.state, late.exit_code, late.reason) == ("crashed", None, "deadline-exceeded")
    assert late.log == (*LOG, "killed: it ran longer than 4 s")
    assert late.started_at is not None
    killed = job_of("job-pod-deadline")  # by a deadline of the pod, which stays with its output
    assert (killed.state, killed.exit_code, killed.reason) == ("crashed", 137, "deadline-exceeded")
    memory, command, running = job_of("job-memory"), job_of("job-command"), job_of("job-running")
    assert (memory.state, memory.exit_code, memory.reason) == ("crashed", 137, "out-of-memory")
    assert (command.state, command.reason, command.started_at) == ("crashed", "command-not-found", None)
    assert (running.state, running.reason, running.ended_at) == ("up", None, None)
    assert {ok.name, failed.name} == {"wanted"}


def test_a_one_off_that_can_never_start_has_crashed_and_is_to_be_ended() -> None:
    state = job_of("job-image")
    assert (state.state, state.exit_code, state.reason) == ("crashed", None, "image-not-found")
    seen, now = recorded("job-image")
    assert hopeless(seen.jobs[0], pods_of(seen.jobs[0], seen.pods), Events(seen.events), now) is not None
    refused = event("FailedCreate", 'pods "x" is forbidden: exceeded quota: q', about=f"{APP}-run", kind="Job")
    assert outcome(job(), events=(refused,)).reason == "quota-exceeded"
    assert hopeless(job(conditions=("Failed",)), [], Events((refused,)), NOW) is None


def test_the_pod_of_a_one_off_is_believed_before_its_job() -> None:
    done = job_pod(phase="Succeeded", state={"terminated": ended(0, "Completed")})
    assert outcome(job(), done).state == "down"
    assert outcome(job(), job_pod(phase="Failed", state={"terminated": ended(4)})).exit_code == 4
    assert outcome(job(), job_pod(phase="Running", state={"terminated": ended(4)})).exit_code == 4


def test_a_one_off_that_ends_well_when_it_is_told_to_is_late_all_the_same() -> None:
    told = job(conditions=("FailureTarget",), reason="DeadlineExceeded")
    done = job_pod(phase="Succeeded", state={"terminated": ended(0, "Completed")})
    assert outcome(told, done).reason == "deadline-exceeded"
    assert outcome(told, going(job_pod(state={"running": {}}))).state == "up"


def test_a_one_off_that_we_ended_says_for_what() -> None:
    stopped = job(conditions=("Failed",), reason="DeadlineExceeded", ended_for="stopped")
    assert outcome(stopped).reason == "stopped"
    assert outcome(stopped).state == "crashed"


@pytest.mark.parametrize(
    ("pods", "state"),
    [
        ((), "starting"),
        ((job_pod(phase="Pending"),), "starting"),
        ((job_pod(phase="Pending", state=waiting("ContainerCreating")),), "starting"),
        ((job_pod(state={"running": {"startedAt": ago(5)}}),), "up"),
    ],
)
def test_a_one_off_on_its_way(pods: tuple[Manifest, ...], state: str) -> None:
    assert outcome(job(), *pods).state == state


def test_a_one_off_of_which_nothing_is_left_is_lost() -> None:
    lost = outcome(job(conditions=("Failed",), reason="BackoffLimitExceeded"))
    assert (lost.state, lost.exit_code, lost.reason) == ("crashed", None, "lost")
    evicted = outcome(job(conditions=("Failed",)), job_pod(phase="Failed", reason="Evicted", message="disk"))
    assert (evicted.reason, evicted.log[-1]) == ("evicted", "it was taken off its machine: disk")


def test_a_one_off_is_listed_once_under_the_name_of_its_job() -> None:
    (one,) = instances(seen_of(job(), job_pod(state={"running": {"startedAt": ago(5)}}, ready=True)))
    assert (one.name, one.ptype, one.state, one.ready, one.release) == (f"{APP}-run", "run", "up", False, 7)
    (waits,) = instances(seen_of(job()))
    assert (waits.state, waits.release) == ("starting", 7)
    (ends,) = instances(seen_of(job(), going(job_pod(state={"running": {}}))))
    assert ends.state == "terminating"


def test_pods_of_an_earlier_job_of_the_same_name_do_not_count() -> None:
    one = job()
    one["metadata"]["uid"] = "new"
    stale = job_pod(phase="Failed", state={"terminated": ended(1)})
    stale["metadata"]["ownerReferences"][0] |= {"name": f"{APP}-run", "uid": "old"}
    assert outcome(one, stale).state == "starting"


WORDS = st.text(max_size=8)


@given(
    phase=st.sampled_from(["Pending", "Running", "Succeeded", "Failed", "Unknown", None, "New"]),
    reason=st.sampled_from(["", None, "Evicted", "NodeLost", "New"]),
    state=st.dictionaries(
        st.sampled_from(["waiting", "running", "terminated"]),
        st.fixed_dictionaries(
            {},
            optional={"reason": st.text(max_size=8), "message": st.text(max_size=8), "exitCode": st.integers(0, 255)},
        ),
    ),
    restarts=st.integers(0, 5),
    ready=st.booleans(),
)
def test_weakness_41_no_pod_breaks_the_list(
    phase: str | None, reason: str | None, state: dict[str, Any], restarts: int, ready: bool
) -> None:
    one = pod(state=state or None, restarts=restarts, ready=ready, reason=reason)
    one["status"]["phase"] = phase
    observed = Look(APP, seen_of(deployment(), one), NOW).observation()
    assert observed.instances[0].state in get_args(InstancePhase)


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_what_the_cache_keeps_is_enough(path: Path) -> None:
    seen, now = recorded(path.stem)
    kept = Seen(*([entry_of(kind_of(one), one).object for one in part] for part in _parts(seen)))
    assert Look(APP, kept, now).observation() == Look(APP, seen, now).observation()
    assert Look(APP, kept, now).failures == Look(APP, seen, now).failures


def _parts(seen: Seen) -> tuple[Sequence[Manifest], ...]:
    return seen.deployments, seen.replica_sets, seen.pods, seen.jobs, seen.events
