"""Where storage is: our settings, the names of the compatible system, and what obstore is told of them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from pydantic_settings import SettingsConfigDict

from builder.settings import Settings
from builder.storage.archives import Archives
from builder.storage.config import StorageConfig, region_of
from builder.storage.settings import StorageSettings, storage_of
from builder.storage.stores import open_store
from shared.settings import SettingsError, load_settings


class Some(StorageSettings):
    """A service's settings."""

    model_config = SettingsConfigDict(env_prefix="BUILDER_")


def _storage(monkeypatch: pytest.MonkeyPatch, **environment: str) -> StorageConfig | None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return storage_of(load_settings(Some))


def _config_of(config: StorageConfig | None) -> dict[str, object]:
    assert config is not None
    store = open_store(config)
    return dict(store.config)  # type: ignore[union-attr]


def test_without_settings_there_is_no_storage(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _storage(monkeypatch) is None


def test_the_names_of_the_compatible_system(monkeypatch: pytest.MonkeyPatch) -> None:
    config = _storage(
        monkeypatch,
        DRYCC_STORAGE_LOOKUP="path",
        DRYCC_STORAGE_BUCKET="builder",
        DRYCC_STORAGE_ENDPOINT="http://drycc-storage.drycc.svc.cluster.local:9000",
        DRYCC_STORAGE_ACCESSKEY="the-access-key",
        DRYCC_STORAGE_SECRETKEY="the-secret-key",
    )
    told = _config_of(config)
    assert told["bucket"] == "builder"
    assert told["endpoint"] == "http://drycc-storage.drycc.svc.cluster.local:9000"
    assert told["virtual_hosted_style_request"] in (False, "false")
    assert (told["access_key_id"], told["secret_access_key"]) == ("the-access-key", "the-secret-key")
    assert told["region"] == "drycc-storage"
    assert "the-secret-key" not in repr(config)
    assert "the-access-key" not in repr(config)


def test_the_names_of_before_of_ports_and_jobs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Names of builder.md 11 that an operator sets."""
    directories = {name: tmp_path / name for name in ("repos", "build_logs", "workspaces", "caches", "host_key_dir")}
    before = {
        "SSH_HOST_IP": "10.0.0.1",
        "SSH_HOST_PORT": "2224",
        "HEALTH_SERVER_PORT": "8093",
        "TTL_SECONDS_AFTER_FINISHED": "600",
        "IMAGEBUILDER_IMAGE_PULL_POLICY": "Never",
        "DRYCC_REGISTRY_HOST": "registry.example.org",
        "BUILDER_POD_NODE_SELECTOR": "pool:testing,disk:magnetic",
    }
    for name, value in before.items():
        monkeypatch.setenv(name, value)
    needed = {"issuer": "https://example.org", "client_secret": "x", "run_dir": tmp_path, **directories}
    settings = load_settings(Settings, **needed)
    assert (settings.ssh_host, settings.ssh_port, settings.bind_port) == ("10.0.0.1", 2224, 8093)
    assert settings.build_ttl == timedelta(minutes=10)
    assert (settings.imagebuilder_pull_policy, settings.registry) == ("Never", "registry.example.org")
    assert settings.node_selector == {"pool": "testing", "disk": "magnetic"}


def test_a_secret_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("the-secret-key\n")
    config = _storage(
        monkeypatch,
        BUILDER_STORAGE_URL="s3://builder/here",
        BUILDER_STORAGE_ACCESS_KEY="a",
        BUILDER_STORAGE_SECRET_KEY_FILE=str(tmp_path / "secret"),
        BUILDER_STORAGE_TIMEOUT="20",
    )
    assert config is not None
    assert (config.url, config.secret_key) == ("s3://builder/here", "the-secret-key")
    assert config.request_timeout == timedelta(seconds=20)


@pytest.mark.parametrize(
    ("lookup", "endpoint", "expected"),
    [
        ("auto", "https://s3.example.com", "https://s3.example.com"),
        ("path", "https://s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com"),
        ("auto", "https://s3.eu-west-1.amazonaws.com", "https://b.s3.eu-west-1.amazonaws.com"),
        ("dns", "https://s3.example.com:9000/", "https://b.s3.example.com:9000"),
    ],
)
def test_where_requests_name_the_bucket(
    lookup: str, endpoint: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = _storage(
        monkeypatch, BUILDER_STORAGE_URL="s3://b", BUILDER_STORAGE_LOOKUP=lookup, BUILDER_STORAGE_ENDPOINT=endpoint
    )
    assert _config_of(config)["endpoint"] == expected


@pytest.mark.parametrize(
    ("endpoint", "region"),
    [
        (None, None),
        ("http://10.1.2.3:9000", "us-east-1"),
        ("http://[::1]:9000", "us-east-1"),
        ("https://fra1.spaces.example.com", "fra1"),
        ("https://s3.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://s3.amazonaws.com", "us-east-1"),
    ],
)
def test_the_region_follows_from_the_endpoint(endpoint: str | None, region: str | None) -> None:
    assert region_of(StorageConfig("s3://b", endpoint=endpoint)) == region
    assert region_of(StorageConfig("s3://b", endpoint=endpoint, region="mine")) == "mine"


def test_the_other_providers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0")
    for url in ("gs://bucket/prefix", "az://container/prefix"):
        assert Archives(StorageConfig(url))


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"BUILDER_STORAGE_URL": "ftp://x"}, "BUILDER_STORAGE_URL: must start with s3://, gs://, az:// or file:///"),
        ({"BUILDER_STORAGE_URL": "file://x/y"}, "BUILDER_STORAGE_URL: must name an absolute path"),
        ({"BUILDER_STORAGE_URL": "s3:///x"}, "BUILDER_STORAGE_URL: must name a bucket"),
        ({"BUILDER_STORAGE_URL": "s3://key:word@b"}, "BUILDER_STORAGE_URL: must be a bucket and a prefix only"),
        ({"DRYCC_STORAGE_ENDPOINT": "storage:9000"}, "DRYCC_STORAGE_ENDPOINT: must be a URL"),
        ({"BUILDER_STORAGE_ENDPOINT": "http://a:b@c"}, "BUILDER_STORAGE_ENDPOINT: must not hold credentials"),
        ({"BUILDER_STORAGE_URL": "s3://a", "DRYCC_STORAGE_BUCKET": "b"}, "BUILDER_STORAGE_BUCKET: is not the bucket"),
        (
            {"DRYCC_STORAGE_BUCKET": "b", "DRYCC_STORAGE_ACCESSKEY": "a"},
            "BUILDER_STORAGE_SECRET_KEY: is required beside the other one",
        ),
        (
            {"DRYCC_STORAGE_BUCKET": "b", "BUILDER_STORAGE_CA": "/nonexistent"},
            "BUILDER_STORAGE_CA: cannot read /nonexistent: No such file or directory",
        ),
    ],
)
def test_what_is_wrong_is_told(environment: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as caught:
        _storage(monkeypatch, **environment)
    assert caught.value.detail.startswith(message)
    assert "word" not in caught.value.detail
