"""Everything that the controller can be told from outside, with units and defaults."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from controller.domain.metrics import INTERVAL, MetricsConfig, parse_metrics_config
from controller.domain.operator_defaults import parse_names, parse_quota, parse_tags
from controller.domain.plans import Catalog
from controller.domain.plans_file import CatalogError, read_catalog, shipped_catalog
from controller.settings_kubernetes import KubernetesSettings
from shared.settings import SettingsError, legacy


class Settings(KubernetesSettings):
    """Settings of the controller; environment prefix `CONTROLLER_`."""

    model_config = SettingsConfigDict(env_prefix="CONTROLLER_")

    public_url: str = Field(description="Where people reach this API, e.g. http://drycc.localhost:8080.")
    encryption_keys: list[SecretStr] = Field(
        min_length=1, description="Fernet keys for secrets at rest; the first encrypts, all decrypt."
    )
    encryption_keys_file: Path | None = Field(
        None, description="File with encryption_keys, a JSON list; read again when it changes, so that keys can rotate."
    )
    run_worker: bool = Field(True, description="Run consumers and the reconciler in the API process as well.")

    issuer: str = Field(description="Issuer of passport's tokens, e.g. http://drycc-passport.localhost:8080/oauth.")
    passport_url: str = Field(description="Where this process reaches passport; the host is kept with a socket too.")
    passport_socket: Path | None = Field(None, description="Unix socket of passport, used instead of TCP.")
    passport_client_id: str = Field(description="OAuth client id of the controller at passport.")
    passport_client_secret: SecretStr = Field(description="OAuth client secret of the controller at passport.")
    allow_password_login: bool = Field(True, description="Accept `drycc login -u -p` (the password grant).")
    login_lifetime: timedelta = Field(timedelta(minutes=10), description="How long a started login can be finished.")
    builder_key: SecretStr | None = Field(
        None,
        description="Key of builders that know only X-Drycc-Builder-Auth; without it the header is not accepted.",
        json_schema_extra=legacy("DRYCC_BUILDER_KEY"),
    )

    engine: Literal["memory", "local", "kubernetes"] = Field("local", description="What runs the apps.")
    workspaces: Path | None = Field(None, description="local engine: builds, <workspaces>/<app>/<build id>.")
    logs: Path | None = Field(None, description="local engine: logs of apps.")
    run_dir: Path | None = Field(None, description="local engine: sockets and short-lived files.")
    edge_dir: Path | None = Field(None, description="local engine: files that the edge goes by; none, no edge.")
    process_mark: str | None = Field(None, description="local engine: WORKFLOW_HOME_ID of every process of an app.")
    app_domain: str | None = Field(None, description="Apps answer on <app>.<app_domain>; none: nothing is routed.")
    cluster_domain: str = Field(
        "cluster.local",
        description="Services of apps answer on <service>.<app>.svc.<this>.",
        json_schema_extra=legacy("KUBERNETES_CLUSTER_DOMAIN"),
    )
    app_url_template: str | None = Field(None, description="URL of an app, e.g. http://{app}.localhost:8080.")

    reserved_names: Annotated[list[str], NoDecode] = Field(
        # The last two are where images that all builds may read are kept in the registry.
        default=["drycc", "drycc-builder", "drycc-passport", "library", "workflow"],
        description="Names that no app may have, with commas between them.",
        json_schema_extra=legacy("RESERVED_NAMES"),
    )
    deploy_timeout: timedelta = Field(
        timedelta(seconds=120),
        description="A rollout that takes longer has failed.",
        json_schema_extra=legacy("DRYCC_DEPLOY_TIMEOUT"),
    )
    deploy_reject_if_procfile_missing: bool = Field(
        False,
        description="Refuse a build without a Procfile (409) when the one before had one.",
        json_schema_extra=legacy("DRYCC_DEPLOY_REJECT_IF_PROCFILE_MISSING"),
    )
    deploy_procfile_missing_remove: bool = Field(
        True,
        description="A build without a Procfile removes process types; false: it keeps the Procfile of the one before.",
        json_schema_extra=legacy("DRYCC_DEPLOY_PROCFILE_MISSING_REMOVE"),
    )
    releases_kept: int = Field(
        100,
        ge=0,
        description="An app's newest releases that did not fail, and what runs, can be rolled back to; 0: all can. "
        "Builders remove what older ones were built from.",
    )
    pipeline_run_timeout: timedelta = Field(
        timedelta(seconds=3600),
        description="Limit of a release-phase command.",
        json_schema_extra=legacy("DRYCC_PILELINE_RUN_TIMEOUT"),
    )
    grace_period: timedelta = Field(
        timedelta(seconds=30),
        description="Between SIGTERM and SIGKILL of a process.",
        json_schema_extra=legacy("KUBERNETES_POD_TERMINATION_GRACE_PERIOD_SECONDS"),
    )
    max_job_ttl: timedelta = Field(
        timedelta(seconds=7200),
        description="A finished one-off is kept no longer.",
        json_schema_extra=legacy("KUBERNETES_JOB_MAX_TTL_SECONDS_AFTER_FINISHED"),
    )
    max_jobs: int = Field(100, ge=1, description="One-offs of an app that have not ended; one more is refused.")
    default_config_tags: Annotated[dict[str, str], NoDecode] = Field(
        default={},
        description="Labels of the machines for the processes of every app, as JSON; tags of an app win.",
        json_schema_extra=legacy("DRYCC_DEFAULT_CONFIG_TAGS"),
    )
    namespace_default_quota_spec: Annotated[dict[str, object] | None, NoDecode] = Field(
        None,
        description="Spec of a ResourceQuota for each app, as JSON; none: no quota.",
        json_schema_extra=legacy("KUBERNETES_NAMESPACE_DEFAULT_QUOTA_SPEC"),
    )
    max_replicas: int = Field(
        100, ge=1, le=2**31 - 1, description="Most instances of one process type; scaling beyond is refused."
    )
    exec_timeout: timedelta = Field(
        timedelta(seconds=3600),
        description="Limit of one interactive session.",
        json_schema_extra=legacy("DRYCC_APP_POD_EXEC_TIMEOUT"),
    )
    trusted_proxies: list[str] = Field(
        default=[], description="Networks (10.0.0.0/8) whose X-Forwarded-For counts. On a unix socket it always does."
    )
    rate_limit: float = Field(100.0, ge=0, description="Requests per second and credential, in the long run; 0: any.")
    rate_burst: int = Field(500, ge=1, description="Requests that a credential may make at once.")
    audit_retention: timedelta = Field(timedelta(days=365), description="Entries of the audit trail are kept so long.")
    idempotency_retention: timedelta = Field(
        timedelta(hours=24), description="Answers to requests with an Idempotency-Key are kept so long."
    )
    manager_url: str | None = Field(
        None,
        description="Billing manager: asked whether an owner is active, and told what apps use.",
        json_schema_extra=legacy("WORKFLOW_MANAGER_URL"),
    )
    manager_access_key: SecretStr | None = Field(
        None,
        description="Access key, here and at the manager.",
        json_schema_extra=legacy("WORKFLOW_MANAGER_ACCESS_KEY"),
    )
    manager_secret_key: SecretStr | None = Field(
        None,
        description="Secret key, here and at the manager.",
        json_schema_extra=legacy("WORKFLOW_MANAGER_SECRET_KEY"),
    )
    prometheus_url: str | None = Field(
        None,
        repr=False,
        description="Prometheus, where metrics of apps are asked for; its path is kept. None: there are none.",
        json_schema_extra=legacy("DRYCC_PROMETHEUS_URL"),
    )
    metrics_config_path: Path = Field(
        Path("/etc/controller/metrics.json"),
        validate_default=True,
        description="JSON file of the metrics that apps may see: name to list of labels. It need not exist.",
        json_schema_extra=legacy("DRYCC_METRICS_CONFIG_PATH"),
    )
    metrics_expiry: timedelta = Field(
        timedelta(seconds=20),
        description="Answers about metrics are kept so long.",
        json_schema_extra=legacy("DRYCC_METRICS_EXPIRY"),
    )
    metrics_interval: str = Field(
        "5m",
        description="How old a last sample may be, in Prometheus' form.",
        json_schema_extra=legacy("DRYCC_METRICS_INTERVAL"),
    )
    limits_file: Path | None = Field(
        None, description="JSON file of the limit specs and plans that apps can have; none: the shipped ones."
    )
    min_volume_gib: int = Field(
        1,
        ge=1,
        le=999_999_999,
        description="Smallest volume, in GiB.",
        json_schema_extra=legacy("KUBERNETES_LIMITS_MIN_VOLUME"),
    )
    max_volume_gib: int = Field(
        16384,
        ge=1,
        le=999_999_999,
        description="Largest volume, in GiB.",
        json_schema_extra=legacy("KUBERNETES_LIMITS_MAX_VOLUME"),
    )
    max_upload_bytes: int | None = Field(
        None, ge=1, description="Larger files are not taken into volumes, in bytes; none: any size."
    )
    broker: Literal["none", "memory"] = Field(
        "none", description="Where resources of apps come from; memory: from this process, as long as it lives."
    )
    max_body_bytes: int = Field(8 * 1024 * 1024, ge=1024, description="Larger request bodies are refused, in bytes.")

    @field_validator("encryption_keys")
    @classmethod
    def _fernet_keys(cls, keys: list[SecretStr]) -> list[SecretStr]:
        for key in keys:
            try:
                Fernet(key.get_secret_value())
            except ValueError:
                raise ValueError("each must be a Fernet key: 32 random bytes in URL-safe base64") from None
        return keys

    @field_validator("public_url", "issuer", "passport_url")
    @classmethod
    def _web_address(cls, value: str) -> str:
        if not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")

    @field_validator("manager_url", "prometheus_url")
    @classmethod
    def _optional_address(cls, value: str | None) -> str | None:
        return None if value is None else cls._web_address(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, values: list[str]) -> list[str]:
        for value in values:
            try:
                ip_network(value)
            except ValueError:
                raise ValueError(f"{value} is no network; write e.g. 10.0.0.0/8 or 192.0.2.7") from None
        return values

    @field_validator("reserved_names", mode="before")
    @classmethod
    def _names(cls, value: object) -> list[str]:
        return parse_names(value)

    @field_validator("default_config_tags", mode="before")
    @classmethod
    def _tags(cls, value: object) -> dict[str, str]:
        return parse_tags(value)

    @field_validator("namespace_default_quota_spec", mode="before")
    @classmethod
    def _quota(cls, value: object) -> dict[str, object] | None:
        return parse_quota(value)

    @field_validator("metrics_config_path")
    @classmethod
    def _is_readable(cls, value: Path) -> Path:
        if value.exists():
            read_metrics_config(value)
        return value

    @field_validator("limits_file")
    @classmethod
    def _is_catalog(cls, value: Path | None) -> Path | None:
        if value is not None:
            read_limits(value)
        return value

    @field_validator("metrics_interval")
    @classmethod
    def _is_interval(cls, value: str) -> str:
        if not INTERVAL.fullmatch(value):
            raise ValueError("must be a number and s, m, h, d, w or y, e.g. 5m")
        return value

    @field_validator("audit_retention", "idempotency_retention", "deploy_timeout", "pipeline_run_timeout")
    @classmethod
    def _some_time(cls, value: timedelta) -> timedelta:
        if value <= timedelta():
            raise ValueError("must be longer than nothing")
        return value

    @model_validator(mode="after")
    def _volumes_have_sizes(self) -> Settings:
        if self.min_volume_gib > self.max_volume_gib:
            raise ValueError("CONTROLLER_MIN_VOLUME_GIB must not be larger than CONTROLLER_MAX_VOLUME_GIB")
        return self

    @model_validator(mode="after")
    def _manager_is_complete(self) -> Settings:
        keys = (self.manager_access_key, self.manager_secret_key)
        if any(keys) != all(keys) or (self.manager_url is not None and not all(keys)):
            raise ValueError("the manager needs both CONTROLLER_MANAGER_ACCESS_KEY and CONTROLLER_MANAGER_SECRET_KEY")
        return self

    @field_validator("app_url_template")
    @classmethod
    def _names_the_app(cls, value: str | None) -> str | None:
        if value is not None and "{app}" not in value:
            raise ValueError("must contain {app}")
        return value

    @model_validator(mode="after")
    def _local_engine_is_complete(self) -> Settings:
        if self.engine == "local":
            missing = [n for n in ("workspaces", "logs", "run_dir", "process_mark") if getattr(self, n) is None]
            if missing:
                raise ValueError("the local engine also needs " + ", ".join(f"CONTROLLER_{n.upper()}" for n in missing))
        return self

    def require_database_url(self) -> str:
        """The database URL, for the commands that cannot do without.

        Raises:
            SettingsError: it is not set.
        """
        if self.database_url is None:
            raise SettingsError("CONTROLLER_DATABASE_URL: is required")
        return self.database_url


def read_limits(path: Path | None) -> Catalog:
    """The limit specs and plans that apps can have; the shipped ones without a file.

    Raises:
        ValueError: the file cannot be used; the text says why in one line.
    """
    if path is None:
        return shipped_catalog()
    try:
        return read_catalog(path)
    except CatalogError as error:
        raise ValueError(f"{path}: {error}") from None


def read_metrics_config(path: Path) -> MetricsConfig:
    """The metrics that apps may see; none without the file.

    Raises:
        ValueError: it cannot be used; the text says why in one line.
    """
    try:
        return parse_metrics_config(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
