"""Everything that the controller can be told from outside, with units and defaults."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from cryptography.fernet import Fernet
from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings


class Settings(ServiceSettings):
    """Settings of the controller; environment prefix `CONTROLLER_`."""

    model_config = SettingsConfigDict(env_prefix="CONTROLLER_")

    public_url: str = Field(description="Where people reach this API, e.g. http://drycc.localhost:8080.")
    encryption_keys: list[SecretStr] = Field(
        min_length=1, description="Fernet keys for secrets at rest; the first encrypts, all decrypt."
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
        None, description="Key of builders that know only X-Drycc-Builder-Auth; without it the header is not accepted."
    )

    engine: Literal["memory", "local"] = Field("local", description="What runs the apps.")
    workspaces: Path | None = Field(None, description="local engine: builds, <workspaces>/<app>/<build id>.")
    logs: Path | None = Field(None, description="local engine: logs of apps.")
    run_dir: Path | None = Field(None, description="local engine: sockets and short-lived files.")
    caddy_admin_socket: Path | None = Field(None, description="local engine: admin socket of Caddy; none, no edge.")
    edge_host: str = Field("127.0.0.1", description="local engine: address of the edge.")
    edge_port: int | None = Field(None, ge=1, le=65535, description="local engine: HTTP port of the edge.")
    process_mark: str | None = Field(None, description="local engine: WORKFLOW_HOME_ID of every process of an app.")
    app_domain: str | None = Field(None, description="Apps answer on <app>.<app_domain>; none: nothing is routed.")
    app_url_template: str | None = Field(None, description="URL of an app, e.g. http://{app}.localhost:8080.")

    reserved_names: list[str] = Field(
        default=["drycc", "drycc-builder", "drycc-passport"], description="Names that no app may have."
    )
    deploy_timeout: timedelta = Field(timedelta(seconds=120), description="A rollout that takes longer has failed.")
    pipeline_run_timeout: timedelta = Field(timedelta(seconds=3600), description="Limit of a release-phase command.")
    grace_period: timedelta = Field(timedelta(seconds=30), description="Between SIGTERM and SIGKILL of a process.")
    max_job_ttl: timedelta = Field(timedelta(seconds=7200), description="A finished one-off is kept no longer.")
    max_replicas: int = Field(
        100, ge=1, le=2**31 - 1, description="Most instances of one process type; scaling beyond is refused."
    )
    exec_timeout: timedelta = Field(timedelta(seconds=3600), description="Limit of one interactive session.")
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
            ValueError: it is not set.
        """
        if self.database_url is None:
            raise ValueError("CONTROLLER_DATABASE_URL: is required")
        return self.database_url
