"""What the operator says: under our names and under those of before, refused at start where it makes no sense."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from controller.context import policy_of
from controller.settings import Settings, read_metrics_config
from controller.settings_kubernetes import read_certificates
from shared.settings import SettingsError, load_settings
from support.certificates import make_pair

NEEDED = {
    "engine": "memory",
    "public_url": "http://drycc.test",
    "issuer": "http://passport.test/oauth",
    "passport_url": "http://passport.test",
    "passport_client_id": "controller",
    "passport_client_secret": "secret",
    "encryption_keys": [Fernet.generate_key().decode()],
}
FORMER_NAMES: dict[str, tuple[str, str, Any]] = {
    "RESERVED_NAMES": ("reserved_names", "drycc, drycc-builder ,shop", ["drycc", "drycc-builder", "shop"]),
    "DRYCC_DEPLOY_TIMEOUT": ("deploy_timeout", "300", timedelta(seconds=300)),
    "DRYCC_PILELINE_RUN_TIMEOUT": ("pipeline_run_timeout", "60", timedelta(seconds=60)),
    "KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS": ("grace_period", "5", timedelta(seconds=5)),
    "KUBERNETES_JOB_MAX_TTL_SECONDS_AFTER_FINISHED": ("max_job_ttl", "90", timedelta(seconds=90)),
    "DRYCC_APP_POD_EXEC_TIMEOUT": ("exec_timeout", "7", timedelta(seconds=7)),
    "DRYCC_DEPLOY_REJECT_IF_PROCFILE_MISSING": ("deploy_reject_if_procfile_missing", "true", True),
    "DRYCC_DEPLOY_PROCFILE_MISSING_REMOVE": ("deploy_procfile_missing_remove", "false", False),
    "DRYCC_DEFAULT_CONFIG_TAGS": ("default_config_tags", '{"role": "worker"}', {"role": "worker"}),
    "KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC": (
        "namespace_default_quota_spec",
        '{"spec": {"hard": {"pods": "10"}}}',
        {"hard": {"pods": "10"}},
    ),
    "DRYCC_PROMETHEUS_URL": ("prometheus_url", "http://prom/base/", "http://prom/base"),
    "DRYCC_METRICS_EXPIRY": ("metrics_expiry", "5", timedelta(seconds=5)),
    "DRYCC_METRICS_INTERVAL": ("metrics_interval", "90s", "90s"),
    "DRYCC_APP_GATEWAY_CLASS": ("gateway_class", "istio", "istio"),
    "DRYCC_APP_STORAGE_CLASS": ("storage_class", "longhorn", "longhorn"),
    "DRYCC_APP_DNS_POLICY": ("dns_policy", "Default", "Default"),
    "DRYCC_DEPLOY_BATCHES": ("deploy_batches", "3", 3),
    "IMAGE_PULL_POLICY": ("image_pull_policy", "Always", "Always"),
    "KUBERNETES_DEPLOYMENTS_REVISION_HISTORY_LIMIT": ("revision_history_limit", "2", 2),
    "DRYCC_REGISTRY_SECRET_PREFIX": ("pull_secret_prefix", "pull", "pull"),
    "DRYCC_FILER_IMAGE": ("filer_image", "alpine:3", "alpine:3"),
    "DRYCC_FILER_IMAGE_PULL_POLICY": ("filer_pull_policy", "Always", "Always"),
    "DRYCC_FILER_DURATION": ("filer_duration", "60", timedelta(seconds=60)),
    "DRYCC_FILER_WAITTIME": ("filer_idle", "30", timedelta(seconds=30)),
    "WORKFLOW_NAMESPACE": ("platform_namespace", "paas", "paas"),
}


def load(**overrides: Any) -> Settings:
    return load_settings(Settings, **(NEEDED | overrides))


def refused(**overrides: Any) -> str:
    with pytest.raises(SettingsError) as caught:
        load(**overrides)
    assert "\n" not in caught.value.detail
    return caught.value.detail


@pytest.mark.parametrize("name", FORMER_NAMES)
def test_both_names_of_a_setting_work_and_ours_wins(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    field, text, value = FORMER_NAMES[name]
    default = getattr(load(), field)
    monkeypatch.setenv(name, text)
    assert getattr(load(), field) == value != default
    monkeypatch.delenv(name)
    monkeypatch.setenv(f"CONTROLLER_{field.upper()}", text)
    assert getattr(load(), field) == value
    monkeypatch.setenv(name, "nonsense")
    assert getattr(load(), field) == value


def test_the_builder_key_of_before(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRYCC_BUILDER_KEY", "k3y")
    key = load().builder_key
    assert key is not None
    assert key.get_secret_value() == "k3y"


def test_the_rules_follow_the_settings() -> None:
    quota, tags = {"hard": {"pods": "10"}}, {"role": "worker"}
    settings = load(
        default_config_tags=tags,
        namespace_default_quota_spec=quota,
        deploy_reject_if_procfile_missing=True,
        deploy_procfile_missing_remove=False,
        reserved_names="a,b",
    )
    policy = policy_of(settings)
    assert (policy.default_tags, policy.quota) == (tags, quota)
    assert (policy.reject_missing_procfile, policy.remove_missing_procfile) == (True, False)
    assert policy.reserved_names == frozenset("ab")
    plain = policy_of(load())
    assert (plain.default_tags, plain.quota) == ({}, None)
    assert (plain.reject_missing_procfile, plain.remove_missing_procfile) == (False, True)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("DRYCC_DEFAULT_CONFIG_TAGS", "role=worker", 'must be JSON, e.g. {"role": "worker"} ('),
        ("DRYCC_DEFAULT_CONFIG_TAGS", '["role"]', 'must be a JSON object, e.g. {"role": "worker"}'),
        ("DRYCC_DEFAULT_CONFIG_TAGS", '{"role": 1}', "the value of role must be a text"),
        ("DRYCC_DEFAULT_CONFIG_TAGS", '{"ro le": "x"}', 'ro le=x: Tag keys must be alphanumeric or "-_."'),
        ("DRYCC_DEFAULT_CONFIG_TAGS", '{"role": "a b"}', 'role=a b: Tag values must be alphanumeric or "-_."'),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", "10", 'must be a JSON object, e.g. {"hard": {"pods": "10"}}'),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", '{"pods": 10}', "must have limits below `hard`"),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", '{"spec": 3}', "must have limits below `hard`"),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", '{"hard": {"pods": "ten"}}', "'ten' is not an amount of pods"),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", '{"hard": {"pods": true}}', "'True' is not an amount of pods"),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", '{"hard": {" ": 1}}', "' ' is not the name of a resource"),
        ("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC", '{"hard": {"pods": 1}, "soft": 1}', "soft: a quota has no such"),
        ("RESERVED_NAMES", "[1]", "must be names with commas between them"),
        ("DRYCC_DEPLOY_TIMEOUT", "0", "must be longer than nothing"),
        ("DRYCC_DEPLOY_TIMEOUT", "soon", ""),
        ("DRYCC_DEPLOY_PROCFILE_MISSING_REMOVE", "perhaps", ""),
        ("DRYCC_METRICS_INTERVAL", "5 minutes", "must be a number and s, m, h, d, w or y, e.g. 5m"),
        ("DRYCC_PROMETHEUS_URL", "prom:9090", "must start with http:// or https://"),
    ],
)
def test_nonsense_is_refused_at_start(monkeypatch: pytest.MonkeyPatch, name: str, text: str, message: str) -> None:
    monkeypatch.setenv(name, text)
    assert refused().startswith(f"{name}: {message}")


def test_amounts_of_a_quota_become_texts() -> None:
    hard = {"pods": 10, "requests.storage": "4Gi", "count/jobs.batch": "1", "limits.cpu": 0.5}
    settings = load(namespace_default_quota_spec={"hard": hard, "scopes": ["NotTerminating"]})
    assert settings.namespace_default_quota_spec == {
        "hard": {"pods": "10", "requests.storage": "4Gi", "count/jobs.batch": "1", "limits.cpu": "0.5"},
        "scopes": ["NotTerminating"],
    }


def test_names_may_be_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTROLLER_RESERVED_NAMES", '["a", "b"]')
    assert load().reserved_names == ["a", "b"]
    monkeypatch.setenv("CONTROLLER_RESERVED_NAMES", " , ")
    assert load().reserved_names == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "it is no JSON: "),
        ("[]", "it must be an object: name of a metric to list of labels"),
        ('{"a b": []}', "'a b' is not the name of a metric"),
        ('{"up": "job"}', "the labels of up must be a list of label names"),
        ('{"up": ["a-b"]}', "the labels of up must be a list of label names"),
    ],
)
def test_a_metrics_file_that_cannot_be_used(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "metrics.json"
    path.write_text(text)
    assert refused(metrics_config_path=path).startswith(f"CONTROLLER_METRICS_CONFIG_PATH: {path}: {message}")
    path.write_text('{"up": ["job"]}')
    assert read_metrics_config(load(metrics_config_path=path).metrics_config_path) == {"up": ("job",)}
    directory = refused(metrics_config_path=tmp_path)
    assert directory == f"CONTROLLER_METRICS_CONFIG_PATH: cannot read {tmp_path}: Is a directory"
    assert read_metrics_config(tmp_path / "none") == {}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"worker_account": "no-namespace"}, "WORKER_ACCOUNT"),
        ({"platform_certificate": "A/b"}, "PLATFORM_CERTIFICATE"),
        ({"private_networks": ["10.0.0.0/33"]}, "10.0.0.0/33 is no network"),
        ({"deploy_batches": -1}, "DEPLOY_BATCHES"),
        ({"filer_idle": 0}, "a second at least"),
        ({"drain_delay": -1}, "DRAIN_DELAY"),
        ({"registry_username": "robot"}, "CONTROLLER_REGISTRY_PASSWORD"),
        ({"gateway_listeners": "many"}, "GATEWAY_LISTENERS"),
        ({"acme_ca_file": __file__}, "must hold certificates in PEM"),
        ({"acme_ca_file": "/no/such/file"}, "cannot read /no/such/file: No such file or directory"),
    ],
)
def test_choices_for_a_cluster_that_make_no_sense_are_refused(wrong: dict[str, Any], told: str) -> None:
    assert told in refused(**wrong)


def test_the_authorities_of_a_private_acme_server_reach_the_engine(tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    path.write_text(make_pair("acme.example.org").certificate)
    settings = load(acme_ca_file=path)
    assert settings.acme_ca_file is not None
    assert read_certificates(settings.acme_ca_file) == path.read_bytes()
