"""Filers: what is rendered, and what is made of what the cluster tells of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest

from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.facts import Events, Seen
from controller.engine.kubernetes.filer_state import (
    deadline_of,
    filer_state,
    is_used_up,
    node_in_use,
    wants_time,
)
from controller.engine.kubernetes.kinds import JOB
from controller.engine.kubernetes.manifests.filer import render_filer
from controller.engine.kubernetes.observe import Look
from controller.engine.kubernetes.trim import entry_of
from shared.kubernetes.kinds import Manifest
from support.golden import check_golden
from support.kubernetes_seen import APP, NOW, ago, event, going, pod, waiting

GOLDEN: Final = Path(__file__).parent / "golden"
CONFIG: Final = KubernetesConfig(filer_idle=timedelta(minutes=20), filer_duration=timedelta(hours=1))
CLAIM: Final = "uploads"
RUNNING: Final = {"running": {"startedAt": ago(5)}}
UID: Final = "job-uid"


def filer(*, age: float = 60, left: float = 1200, conditions: tuple[str, ...] = ()) -> Manifest:
    """The Job of a filer that began `age` seconds ago and ends in `left` seconds."""
    made = render_filer(APP, CLAIM, CONFIG)
    made["metadata"] |= {"uid": UID, "creationTimestamp": ago(age)}
    made["spec"]["activeDeadlineSeconds"] = round(age + left)
    told = [{"type": kind, "status": "True"} for kind in conditions]
    made["status"] = {"startTime": ago(age), "conditions": told}
    return entry_of(JOB, made).object


def filer_pod(state: Mapping[str, Any] | None, **more: Any) -> Manifest:
    """Its pod."""
    made = pod(ptype=names.FILER, owner="Job", state=state, **more)
    made["metadata"]["ownerReferences"] = [{"kind": "Job", "name": names.filer(CLAIM), "controller": True, "uid": UID}]
    return made


def phase(job: Manifest, *pods: Manifest, events: tuple[Manifest, ...] = ()) -> str:
    return filer_state(job, pods, Events(events), NOW, CONFIG).phase


def test_golden() -> None:
    check_golden(GOLDEN / "filer.yaml", [render_filer(APP, CLAIM, CONFIG), render_filer(APP, CLAIM, CONFIG, node="n1")])


def test_weakness_56_a_filer_has_no_password_and_listens_on_nothing() -> None:
    made = render_filer(APP, CLAIM, CONFIG)
    (container,) = made["spec"]["template"]["spec"]["containers"]
    assert not {"env", "envFrom", "ports", "args"} & set(container)
    assert made["spec"]["template"]["spec"]["automountServiceAccountToken"] is False
    text = json.dumps(made).lower()
    assert not [word for word in ("password", "secret", 'token": true', "username") if word in text]


def test_a_filer_is_what_the_operator_chose() -> None:
    config = replace(CONFIG, filer_image="r.example/tools:2", filer_pull_policy="Always", filer_user=2000)
    made = render_filer(APP, CLAIM, config)
    spec = made["spec"]["template"]["spec"]
    assert (spec["containers"][0]["image"], spec["containers"][0]["imagePullPolicy"]) == ("r.example/tools:2", "Always")
    context = spec["securityContext"]
    assert (context["runAsUser"], context["runAsGroup"], context["fsGroup"]) == (2000, 2000, 2000)
    assert made["spec"]["activeDeadlineSeconds"] == 1200


def test_long_names_of_volumes_have_filers_of_their_own() -> None:
    one, other = (names.volume_claim("v" * 62 + end) for end in "ab")
    assert names.filer(one) != names.filer(other)
    assert len(names.filer(one)) <= names.LABEL_LIMIT


def test_a_filer_is_no_instance_and_no_process_type() -> None:
    seen = Seen(jobs=(filer(),), pods=(filer_pod(RUNNING, ready=True),))
    observed = Look(APP, seen, NOW).observation()
    assert (observed.instances, observed.ptypes) == ((), ())


def test_where_a_filer_stands() -> None:
    up = filer_pod(RUNNING, ready=True)
    assert phase(filer()) == "starting"
    assert phase(filer(), filer_pod(None, phase="Pending")) == "starting"
    assert phase(filer(), filer_pod(waiting("ContainerCreating"), phase="Pending")) == "starting"
    assert filer_state(filer(), [up], Events(()), NOW, CONFIG).pod == "one"
    assert phase(filer(), going(up)) == "spent"
    assert phase(filer(conditions=("Failed",)), up) == "spent"
    assert phase(filer(conditions=("FailureTarget",)), up) == "spent"
    assert phase(going(filer()), up) == "spent"
    assert phase(filer(left=30), up) == "spent"
    ended = {
        "terminated": {"exitCode": 127, "reason": "StartError", "message": 'exec: "sh": executable file not found'}
    }
    crashed = filer_state(filer(), [filer_pod(ended, phase="Failed")], Events(()), NOW, CONFIG)
    assert crashed.phase == "spent"
    assert crashed.finding is not None
    assert crashed.finding.code == "command-not-found"


@pytest.mark.parametrize("uid", ["another", UID])
def test_pods_of_an_earlier_filer_do_not_count(uid: str) -> None:
    up = filer_pod(RUNNING, ready=True)
    up["metadata"]["ownerReferences"][0]["uid"] = uid
    assert phase(filer(), up) == ("up" if uid == UID else "starting")


def test_a_filer_that_cannot_start_is_told_from_one_that_takes_long() -> None:
    refused = event("FailedCreate", "pods \"x\" is forbidden: exceeded quota: rules, requested: pods=1, used: pods=2",
                    about=names.filer(CLAIM), kind="Job")  # fmt: skip
    state = filer_state(filer(age=600), (), Events([refused]), NOW, CONFIG)
    assert state.phase == "hopeless"
    assert state.finding is not None
    assert "quota" in state.finding.message
    invalid = filer_state(
        filer(), [filer_pod(waiting("InvalidImageName", "no"), phase="Pending")], Events(()), NOW, CONFIG
    )
    assert (invalid.phase, invalid.finding and invalid.finding.code) == ("hopeless", "image-invalid")


def test_who_uses_a_filer_gives_it_more_time() -> None:
    assert not wants_time(filer(left=1190), NOW, CONFIG, is_busy=False)
    assert wants_time(filer(left=800), NOW, CONFIG, is_busy=False)
    assert deadline_of(filer(age=600, left=800), NOW, CONFIG) == 1800


def test_an_old_filer_makes_way_when_nobody_has_used_it_lately() -> None:
    assert not wants_time(filer(age=3700, left=800), NOW, CONFIG, is_busy=False)
    assert wants_time(filer(age=3700, left=800), NOW, CONFIG, is_busy=True)
    assert not is_used_up(filer(age=3700, left=800), NOW, CONFIG)
    assert is_used_up(filer(age=3700, left=500), NOW, CONFIG)
    assert not is_used_up(filer(age=3000, left=500), NOW, CONFIG)


def test_a_volume_in_use_says_on_which_machine() -> None:
    user = pod(state=RUNNING)
    user["spec"] |= {"nodeName": "n2", "volumes": [{"persistentVolumeClaim": {"claimName": CLAIM}}]}
    assert node_in_use(CLAIM, [pod("other"), user]) == "n2"
    assert node_in_use("other", [user]) is None
    assert node_in_use(CLAIM, [{**user, "status": {"phase": "Succeeded"}}]) is None
