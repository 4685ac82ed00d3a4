"""Builds with a builder image of the app's choice, and weaknesses of the image builder before (builder.md 18)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest

from builder.runner.kubernetes.manifests import render
from builder.runner.kubernetes.states import failure_of
from builder.runner.port import ChosenBuilder, Plan
from support.golden import check_golden
from unit.builder_kubernetes.test_build_manifests import BUILDPACKS, CONFIG, GOLDEN, PLAN, SPEC, pod_of

BUILDER = ChosenBuilder(
    name="docker.io/acme/builder:1",
    image="docker.io/acme/builder@sha256:1111",
    run_image="docker.io/acme/run@sha256:2222",
    user=1234,
    group=2345,
)
CHOSEN = replace(BUILDPACKS, kind="chosen", builder=BUILDER)
ALL = pytest.mark.parametrize("plan", [PLAN, BUILDPACKS, CHOSEN], ids=["container", "own", "chosen"])


def containers_of(plan: Plan) -> dict[str, dict[str, Any]]:
    pod = pod_of(render(SPEC, plan, CONFIG)[1])
    return {one["name"]: one for one in (*pod["initContainers"], *pod["containers"])}


def files_of_config(plan: Plan) -> dict[str, str]:
    secret, job = render(SPEC, plan, CONFIG)
    (volume,) = [one for one in pod_of(job)["volumes"] if one["name"] == "config"]
    return {item["path"]: secret["stringData"][item["key"]] for item in volume["secret"]["items"]}


def test_a_build_with_a_chosen_builder_image_is_as_somebody_has_looked_at_it() -> None:
    check_golden(GOLDEN / "chosen.yaml", render(SPEC, CHOSEN, CONFIG))


def test_a_chosen_builder_image_runs_where_no_credentials_are() -> None:
    containers = containers_of(CHOSEN)
    assert {name for name, one in containers.items() if one["image"] == BUILDER.image} == {"detect", "build"}
    for name in ("detect", "build"):
        mounts = {one["name"]: one.get("readOnly", False) for one in containers[name]["volumeMounts"]}
        assert mounts == {"workspace": False, "layers": False, "platform": True, "facts": True}
        assert {one["name"] for one in containers[name]["env"]} == {"CNB_PLATFORM_API"}
    for name in ("analyze", "restore", "export"):
        assert containers[name]["image"] == CONFIG.builder_image


def test_all_containers_are_who_the_builder_image_wants() -> None:
    who = pod_of(render(SPEC, CHOSEN, CONFIG)[1])["securityContext"]
    assert (who["runAsUser"], who["runAsGroup"], who["fsGroup"], who["runAsNonRoot"]) == (1234, 2345, 2345, True)
    containers = containers_of(CHOSEN)
    assert all("runAsUser" not in one["securityContext"] for one in containers.values())
    assert {"-uid=1234", "-gid=2345"} < set(containers["export"]["command"])
    assert f"-run-image={BUILDER.run_image}" in containers["analyze"]["command"]


@pytest.mark.parametrize(
    ("container", "status", "code", "words"),
    [
        ("detect", 20, "nothing-recognised", "no buildpack of the builder image fits"),
        ("detect", 21, "build-failed", "failed to look at the repository"),
        ("build", 51, "build-failed", "a buildpack of the builder image failed"),
        ("build", 1, "build-failed", "build ended with status 1"),
    ],
)
def test_programs_that_leave_no_reason_are_known_by_their_status(
    container: str, status: int, code: str, words: str
) -> None:
    state = {"terminated": {"exitCode": status}}
    pod = {
        "spec": {"initContainers": [{"name": container}], "containers": [{"name": "finish"}]},
        "status": {"phase": "Failed", "initContainerStatuses": [{"name": container, "state": state}]},
    }
    error = failure_of(pod)
    assert error.code == code
    assert words in error.message


def test_weakness_15_build_arguments_reach_buildpacks_as_variables() -> None:
    arguments = {"GREETING": "good day", "TOKEN": "of the tree", "PATH": "/x"}
    files = files_of_config(replace(BUILDPACKS, arguments=arguments))
    assert (files["TOKEN"], files["GREETING"]) == ("of the tree", "good day")
    assert "PATH" not in files
    assert "GREETING" not in files_of_config(replace(PLAN, arguments=arguments))  # a Dockerfile gets them as ARGs


def test_weakness_15_builds_of_dockerfiles_keep_their_layers_and_take_secrets() -> None:
    request = json.loads(render(SPEC, PLAN, CONFIG)[0]["stringData"]["request"])
    assert request["cache_image"] == "registry.example.org:5000/shop/cache:container"
    assert "config" in {mount["name"] for mount in containers_of(PLAN)["build"]["volumeMounts"]}


def test_weakness_20_every_process_type_is_a_program_of_the_image() -> None:
    """The controller starts lines of the Procfile; whoever starts `/cnb/process/<type>` gets the same line."""
    plan = replace(BUILDPACKS, procfile={"web": "a", "worker": "b"})
    assert json.loads(render(SPEC, plan, CONFIG)[0]["stringData"]["request"])["processes"] == plan.procfile


@pytest.mark.parametrize("plan", [BUILDPACKS, CHOSEN], ids=["own", "chosen"])
def test_weakness_21_a_file_in_the_tree_clears_the_cache(plan: Plan) -> None:
    skip = {"name": "CNB_SKIP_LAYERS", "value": "true"}
    assert skip not in containers_of(plan)["restore"]["env"]
    containers = containers_of(replace(plan, is_fresh=True))
    for name in ("analyze", "restore"):
        assert skip in containers[name]["env"]


@ALL
def test_weakness_25_only_registries_that_are_named_are_spoken_to_without_tls(plan: Plan) -> None:
    words = [word for one in containers_of(plan).values() for word in one["command"]]
    assert {word for word in words if "insecure" in word} <= {"-insecure-registry=registry.example.org:5000"}
    secret, job = render(SPEC, plan, replace(CONFIG, insecure_registries=()))
    assert "insecure" not in json.dumps(job)
    assert json.loads(secret["stringData"]["request"])["insecure_registries"] == []


@ALL
def test_weakness_26_no_two_builds_push_the_same_tag(plan: Plan) -> None:
    """The cache alone has one name for all builds of an app, which run one after the other."""
    tags = []
    for number in (7, 8):
        secret, job = render(replace(SPEC, number=number), plan, CONFIG)
        found = re.findall(r"registry\.example\.org:5000/shop/shop:[\w.-]+", json.dumps(job))
        tags.append({json.loads(secret["stringData"]["request"])["image"], *found})
    assert not tags[0] & tags[1]
    assert not any(tag.endswith(":latest") for tag in tags[0] | tags[1])
