"""A build as Secret and Job: who sees what, and nothing that it should not have."""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic_settings import SettingsConfigDict

from builder.domain.images import pinned
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.manifests import left_out_of, name_of, render, request_of
from builder.runner.kubernetes.tokens import is_source_token, registry_password
from builder.runner.port import AppConfig, BuildLimits, BuildSpec, ConfigValue, Plan
from builder.settings_kubernetes import KubernetesSettings
from shared.settings import SettingsError, load_settings
from support.golden import check_golden

GOLDEN = Path(__file__).parent / "golden"
KEY = b"0123456789abcdef"
CONFIG = KubernetesRunnerConfig(
    namespace="workflow-builds",
    registry="registry.example.org:5000",
    source_url="http://builder.workflow.svc:8092/",
    imagebuilder_image="registry.example.org/imagebuilder:1",
    builder_image="registry.example.org/builder:1",
    run_image="registry.example.org/run:1",
    source_token_key=KEY,
    registry_auth='{"auths": {"registry.example.org:5000": {"auth": "cHVzaA=="}}}',
    insecure_registries=("registry.example.org:5000",),
    node_selector={"pool": "builds"},
)
SPEC = BuildSpec(
    build_id=UUID("0194d3a0-0000-7000-8000-0000deadbeef"),
    app="shop",
    number=7,
    sha="1a2b3c4d5e6f" + "0" * 28,
    branch="main",
    actor="ana",
    config=AppConfig(
        (
            ConfigValue("TOKEN", "very secret", group="global"),
            ConfigValue("a^b", "odd name", group="global"),
            ConfigValue("OTHER", "not for builds", group="jvm"),
        )
    ),
    options={},
    limits=BuildLimits(timedelta(minutes=30), 4 * 1024**3),
)
PIPELINES: dict[str, Any] = {
    "pipeline": {
        "web.yaml": {"kind": "pipeline", "ptype": "web", "build": {"docker": "web.Dockerfile"}, "deploy": {}},
        "worker.yaml": {
            "kind": "pipeline",
            "ptype": "worker",
            "build": {"arg": {"A": "b c"}},
            "run": {"command": ["migrate"], "image": "web"},
            "deploy": {},
        },
        "cron.yaml": {"kind": "pipeline", "ptype": "cron", "deploy": {"image": "busybox:1"}},
    }
}
BUILDPACKS = Plan("buildpack", "python", {"web": "gunicorn app:app"}, {}, "")
PLAN = Plan("container", "container", {}, PIPELINES, "FROM scratch\n")


def pod_of(job: dict[str, Any]) -> dict[str, Any]:
    pod: dict[str, Any] = job["spec"]["template"]["spec"]
    return pod


def test_a_build_of_dockerfiles_is_as_somebody_has_looked_at_it() -> None:
    check_golden(GOLDEN / "container.yaml", render(SPEC, PLAN, CONFIG))


def test_a_build_by_buildpacks_is_as_somebody_has_looked_at_it() -> None:
    check_golden(GOLDEN / "buildpack.yaml", render(SPEC, BUILDPACKS, CONFIG))


def test_a_build_below_an_organization_is_as_somebody_has_looked_at_it() -> None:
    check_golden(GOLDEN / "organization.yaml", render(SPEC, BUILDPACKS, replace(CONFIG, organization="project/team")))


@pytest.mark.parametrize("plan", [PLAN, BUILDPACKS])
def test_an_organization_changes_the_names_of_images_and_nothing_else(plan: Plan) -> None:
    own = json.dumps(render(SPEC, plan, replace(CONFIG, organization="team")))
    other = json.dumps(render(SPEC, plan, CONFIG))
    assert "/team/shop:git-" in own
    assert "/team/shop.cache:" in own
    assert own.replace("/team/shop.cache:", "/shop/cache:").replace("/team/shop:", "/shop/shop:") == other


def test_weakness_01_a_build_has_an_account_of_its_own_where_we_make_the_tokens() -> None:
    secret, _ = render(SPEC, PLAN, replace(CONFIG, registry_auth=None))
    account = f"{SPEC.build_id}:{registry_password(KEY, SPEC.build_id)}"
    auths = json.loads(secret["stringData"]["registry"])["auths"]
    assert auths == {CONFIG.registry: {"auth": b64encode(account.encode()).decode()}}


@pytest.mark.parametrize("plan", [PLAN, BUILDPACKS])
def test_machines_pull_private_images_with_the_secrets_that_the_operator_names(plan: Plan) -> None:
    pod = pod_of(render(SPEC, plan, replace(CONFIG, image_pull_secrets=("one", "two")))[1])
    assert pod["imagePullSecrets"] == [{"name": "one"}, {"name": "two"}]
    assert "imagePullSecrets" not in pod_of(render(SPEC, plan, CONFIG)[1])


def test_names_of_pull_secrets_are_read_as_a_list(monkeypatch: pytest.MonkeyPatch) -> None:
    class Some(KubernetesSettings):
        model_config = SettingsConfigDict(env_prefix="BUILDER_")

    monkeypatch.setenv("BUILDER_POD_IMAGE_PULL_SECRETS", "registry-one, registry.two,")
    assert load_settings(Some).pod_image_pull_secrets == ["registry-one", "registry.two"]
    monkeypatch.setenv("BUILDER_POD_IMAGE_PULL_SECRETS", "registry-one,Registry_two")
    with pytest.raises(SettingsError, match="'Registry_two' is no name of a Secret"):
        load_settings(Some)


def test_an_organization_is_read_by_both_names_and_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    class Some(KubernetesSettings):
        model_config = SettingsConfigDict(env_prefix="BUILDER_")

    assert load_settings(Some).registry_organization == ""
    monkeypatch.setenv("DRYCC_REGISTRY_ORGANIZATION", "team")
    assert load_settings(Some).registry_organization == "team"
    monkeypatch.setenv("BUILDER_REGISTRY_ORGANIZATION", "project/images")
    assert load_settings(Some).registry_organization == "project/images"
    for wrong in ("Team", "team/", "r.example.org:5000/team", "a\nb"):
        monkeypatch.setenv("BUILDER_REGISTRY_ORGANIZATION", wrong)
        with pytest.raises(SettingsError, match=r"^BUILDER_REGISTRY_ORGANIZATION: .*write e.g. my-team") as caught:
            load_settings(Some)
        assert "\n" not in caught.value.detail


def test_code_of_the_app_and_its_buildpacks_sees_no_credentials() -> None:
    pod = pod_of(render(SPEC, BUILDPACKS, CONFIG)[1])
    mounted = {one["name"]: {mount["name"] for mount in one["volumeMounts"]} for one in pod["initContainers"]}
    for name in ("detect", "build"):
        assert mounted[name] == {"workspace", "layers", "platform"}
    for name in ("analyze", "restore", "export"):
        assert "config" not in mounted[name]
        assert "platform" not in mounted[name]
    assert {name for name, mounts in mounted.items() if "token" in mounts} == {"source"}
    assert pod["securityContext"]["runAsNonRoot"] is True


def test_an_app_without_config_shows_no_other_part_of_the_secret() -> None:
    bare = BuildSpec(**{**vars(SPEC), "config": AppConfig()})
    (volume,) = [one for one in pod_of(render(bare, PLAN, CONFIG)[1])["volumes"] if one["name"] == "config"]
    assert volume == {"name": "config", "emptyDir": {}}


@pytest.mark.parametrize(("value", "skips"), [("1", True), ("true", True), ("false", False), ("", False)])
def test_weakness_21_the_cache_can_be_disabled(value: str, skips: bool) -> None:
    config = AppConfig((ConfigValue("DRYCC_DISABLE_CACHE", value, group="global"),))
    pod = pod_of(render(BuildSpec(**{**vars(SPEC), "config": config}), BUILDPACKS, CONFIG)[1])
    analyze = next(one for one in pod["initContainers"] if one["name"] == "analyze")
    assert ({"name": "CNB_SKIP_LAYERS", "value": "true"} in analyze["env"]) is skips


@pytest.mark.parametrize(("is_fresh", "value", "skips"), [(False, "1", True), (True, "", True), (False, "", False)])
def test_weakness_21_a_dockerfile_is_built_without_the_cache_too(is_fresh: bool, value: str, skips: bool) -> None:
    config = AppConfig((ConfigValue("DRYCC_DISABLE_CACHE", value, group="global"),))
    spec = BuildSpec(**{**vars(SPEC), "config": config})
    request = request_of(spec, replace(PLAN, is_fresh=is_fresh), CONFIG)
    assert (request["cache_image"] is None) is skips


def test_build_arguments_of_the_app_are_given_to_every_dockerfile() -> None:
    """Those of a pipeline win (builder.md 13.3)."""
    pipelines = {
        "web.yaml": {"kind": "pipeline", "ptype": "web", "build": {"arg": {"A": "own"}}, "deploy": {}},
        "worker.yaml": {"kind": "pipeline", "ptype": "worker", "build": {}, "deploy": {}},
    }
    plan = replace(PLAN, dryccfile={"pipeline": pipelines}, arguments={"A": "a b", "B": "2"})
    found = request_of(SPEC, plan, CONFIG)["dockerfiles"]
    assert isinstance(found, list)
    assert {one["ptype"]: one["args"] for one in found} == {
        "web": {"A": "own", "B": "2"},
        "worker": {"A": "a b", "B": "2"},
    }


def test_weakness_01_nothing_is_privileged_and_no_account_is_mounted() -> None:
    pod = pod_of(render(SPEC, PLAN, CONFIG)[1])
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod["initContainers"], *pod["containers"]):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]
        assert "SYS_ADMIN" not in container["securityContext"]["capabilities"].get("add", ())
        assert "privileged" not in container["securityContext"]


def test_weakness_06_config_never_becomes_the_environment_of_the_build() -> None:
    secret, job = render(SPEC, PLAN, CONFIG)
    assert all(one["env"] == [] and "envFrom" not in one for one in pod_of(job)["containers"])
    assert "very secret" not in json.dumps(job)
    volume = next(one for one in pod_of(job)["volumes"] if one["name"] == "config")
    files = {item["path"]: secret["stringData"][item["key"]] for item in volume["secret"]["items"]}
    assert files == {"TOKEN": "very secret", "a^b": "odd name"}


def test_weakness_06_buildpacks_get_no_variable_that_would_change_their_own_programs() -> None:
    values = {
        "TOKEN": "1",
        "PATH": "/x",
        "LD_PRELOAD": "x",
        "CNB_PLATFORM_API": "9",
        "a^b": "1",
        "DRYCC_DISABLE_CACHE": "1",
    }
    config = AppConfig(tuple(ConfigValue(name, value, group="global") for name, value in values.items()))
    secret, job = render(BuildSpec(**{**vars(SPEC), "config": config}), BUILDPACKS, CONFIG)
    (volume,) = [one for one in pod_of(job)["volumes"] if one["name"] == "config"]
    assert [item["path"] for item in volume["secret"]["items"]] == [
        *("TOKEN", "DRYCC_DISABLE_CACHE", "DRYCC_APP", "SOURCE_VERSION")
    ]
    assert sum(key.startswith("config-") for key in secret["stringData"]) == 4


def test_buildpacks_are_told_the_app_and_the_commit() -> None:
    """As on one machine; builders of before passed the first (builder.md 11 and 13.4)."""
    config = AppConfig((ConfigValue("DRYCC_APP", "another", group="global"),))
    for spec in (SPEC, replace(SPEC, config=config)):
        secret, job = render(spec, BUILDPACKS, CONFIG)
        (volume,) = [one for one in pod_of(job)["volumes"] if one["name"] == "config"]
        files = {item["path"]: secret["stringData"][item["key"]] for item in volume["secret"]["items"]}
        assert (files["DRYCC_APP"], files["SOURCE_VERSION"]) == ("shop", SPEC.sha)
    assert left_out_of(replace(SPEC, config=config), BUILDPACKS) == ["DRYCC_APP"]


@pytest.mark.parametrize("name", ["..", ".", "..data", "x" * 256])
def test_a_variable_that_cannot_be_a_file_keeps_no_dockerfile_from_being_built(name: str) -> None:
    """Kubernetes refuses such a path in a volume, and with it the Job."""
    config = AppConfig((ConfigValue("TOKEN", "1", group="global"), ConfigValue(name, "2", group="global")))
    job = render(replace(SPEC, config=config), PLAN, CONFIG)[1]
    (volume,) = [one for one in pod_of(job)["volumes"] if one["name"] == "config"]
    assert [item["path"] for item in volume["secret"]["items"]] == ["TOKEN"]
    assert left_out_of(replace(SPEC, config=config), PLAN) == [name]


def test_the_source_may_be_as_large_as_what_the_build_may_write() -> None:
    for plan in (PLAN, BUILDPACKS):
        assert request_of(SPEC, plan, CONFIG)["source_max_bytes"] == SPEC.limits.disk_bytes


def test_weakness_14_a_build_has_limits_of_time_disk_cpu_and_memory() -> None:
    job = render(SPEC, PLAN, CONFIG)[1]
    pod = pod_of(job)
    assert pod["activeDeadlineSeconds"] == 1800 < job["spec"]["activeDeadlineSeconds"]
    for container in pod["containers"]:
        assert {"cpu", "memory", "ephemeral-storage"} == container["resources"]["limits"].keys()


def test_weakness_13_names_of_images_and_jobs_are_those_of_one_build_only() -> None:
    secret, job = render(SPEC, PLAN, CONFIG)
    request = json.loads(secret["stringData"]["request"])
    assert request["image"] == "registry.example.org:5000/shop/shop:git-1a2b3c4d5e6f-7"
    assert job["metadata"]["name"] == secret["metadata"]["name"] == "build-shop-7-deadbeef"


@pytest.mark.parametrize("app", ["a" * 63, "a-" * 31 + "a"])
def test_names_of_jobs_are_short_enough_for_the_label_of_their_pods(app: str) -> None:
    name = name_of(BuildSpec(**{**vars(SPEC), "app": app, "number": 10**6}))
    assert len(name) <= 63
    assert "--" not in name


def test_every_process_type_with_a_dockerfile_gets_an_image() -> None:
    request = json.loads(render(SPEC, PLAN, CONFIG)[0]["stringData"]["request"])
    base = "registry.example.org:5000/shop/shop:git-1a2b3c4d5e6f-7"
    assert request["dockerfiles"] == [
        {"ptype": "web", "path": "web.Dockerfile", "image": base, "args": {}},
        {"ptype": "worker", "path": "Dockerfile", "image": f"{base}-worker", "args": {"A": "b c"}},
    ]


def test_the_dockerfile_in_the_root_is_that_of_web() -> None:
    request = json.loads(
        render(SPEC, Plan("container", "container", {}, {}, "FROM x"), CONFIG)[0]["stringData"]["request"]
    )
    assert [(one["ptype"], one["path"]) for one in request["dockerfiles"]] == [("web", "Dockerfile")]


def test_a_token_is_good_for_one_build() -> None:
    token = render(SPEC, PLAN, CONFIG)[0]["stringData"]["token"]
    assert is_source_token(KEY, SPEC.build_id, token)
    assert not is_source_token(KEY, UUID(int=1), token)
    assert not is_source_token(b"another", SPEC.build_id, token)


def test_pipelines_name_what_was_built_by_its_digest() -> None:
    images = {"web": "r/shop@sha256:1", "worker": "r/shop@sha256:2"}
    documents: Any = pinned(PIPELINES, images)["pipeline"]
    assert documents["web.yaml"]["deploy"] == {"image": images["web"]}
    assert documents["worker.yaml"]["run"] == {"command": ["migrate"], "image": images["web"]}
    assert documents["worker.yaml"]["deploy"] == {"image": images["worker"]}
    assert documents["cron.yaml"] == PIPELINES["pipeline"]["cron.yaml"]
    assert pinned({}, images) == {}
