"""Settings of the builder: environment variables with the prefix BUILDER_."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from builder.settings_kubernetes import KubernetesSettings
from builder.storage.settings import StorageSettings
from shared.settings import legacy

MIB = 1024 * 1024
GIB = 1024 * MIB
# sockaddr_un.sun_path holds 107 characters and a NUL on Linux (unix(7)).
MAX_SOCKET_PATH = 107
HOOK_SOCKET = "git-hook.sock"


class Settings(KubernetesSettings, StorageSettings):
    """Sizes are bytes, times are durations (`30m` style ISO 8601 or seconds), paths are absolute."""

    model_config = SettingsConfigDict(env_prefix="BUILDER_")

    bind_port: int = Field(
        8092,
        ge=0,
        le=65535,
        description="Port of the HTTP interface; 0 picks a free one.",
        json_schema_extra=legacy("HEALTH_SERVER_PORT"),
    )

    controller_url: str = Field("http://controller:8000", description="Base URL of the controller.")
    controller_socket: Path | None = Field(None, description="Unix socket of the controller; wins over the URL's host.")
    passport_url: str = Field("http://passport:8000", description="Base URL of passport.")
    passport_socket: Path | None = Field(None, description="Unix socket of passport; wins over the URL's host.")
    issuer: str = Field(description="Issuer (iss) of the access tokens that are accepted, as passport states it.")
    client_id: str = Field("builder", description="OAuth client of this service.")
    client_secret: SecretStr = Field(description="Secret of that client.")
    controller_key: SecretStr | None = Field(
        None,
        description="Key for a controller that knows builders by X-Drycc-Builder-Auth; without it a token is sent.",
        json_schema_extra=legacy("DRYCC_BUILDER_KEY"),
    )
    controller_timeout: timedelta = Field(timedelta(seconds=10), description="Deadline of one call to the controller.")
    releases_by: Literal["events", "hook"] = Field(
        "events",
        description="How the controller makes releases: of events on the bus, or when asked (`POST /v2/hooks/build/`).",
    )

    ssh_host: str = Field(
        "0.0.0.0",  # noqa: S104 - a public server
        description="Address that the SSH server listens on.",
        json_schema_extra=legacy("SSH_HOST_IP"),
    )
    ssh_port: int = Field(
        2223,
        ge=0,
        le=65535,
        description="Port of the SSH server; 0 picks a free one.",
        json_schema_extra=legacy("SSH_HOST_PORT"),
    )
    host_key_dir: Path = Field(description="Where the SSH host keys are kept; they are made when missing.")
    ssh_login_timeout: timedelta = Field(timedelta(seconds=30), description="Close a connection not logged in by then.")
    ssh_keepalive_interval: timedelta = Field(timedelta(seconds=15), description="Ask a silent client this often.")
    ssh_keepalive_count: int = Field(3, ge=1, description="Unanswered questions after which a client is gone.")
    ssh_max_unauthenticated: int = Field(100, ge=1, description="Connections that are not logged in yet, in total.")
    ssh_max_unauthenticated_per_address: int = Field(20, ge=1, description="The same for each client address.")
    ssh_max_connections: int = Field(1000, ge=1, description="SSH connections at once, in total.")
    ssh_max_connections_per_address: int = Field(
        200, ge=0, description="The same for each client address (IPv6: each /64); 0 is no limit."
    )
    ssh_max_connections_per_key: int = Field(50, ge=0, description="The same for each public key; 0 is no limit.")
    ssh_max_commands_per_address: int = Field(
        64, ge=0, description="Pushes and fetches at once from one client address; 0 is no limit."
    )
    ssh_max_commands_per_key: int = Field(32, ge=0, description="The same for each public key; 0 is no limit.")
    ssh_max_commands_per_app: int = Field(32, ge=0, description="The same for each app; 0 is no limit.")
    ssh_failed_logins: int = Field(
        20,
        ge=0,
        description="Failed logins after which an address is turned away; 0 never: where a balancer hides addresses.",
    )
    ssh_failed_logins_window: timedelta = Field(timedelta(minutes=1), description="They count when they are as new.")
    ssh_failed_logins_ban: timedelta = Field(timedelta(minutes=1), description="For how long it is turned away.")
    ssh_max_keys: int = Field(20, ge=1, description="Different public keys that one connection may offer.")
    ssh_prefer_aes: bool = Field(
        True,
        description="Offer AES only, to OpenSSH's clients AES-GCM; false leaves the choice to clients and adds "
        "ChaCha20, for processors without AES.",
    )

    drain_seconds: float = Field(
        20.0,
        ge=0,
        description="When stopped, wait this long for git commands under way; the termination grace period is longer.",
    )

    repos: Path = Field(description="Bare repositories, <app>.git each.")
    build_logs: Path = Field(description="Stored build logs, <app>/<build id>.log.")
    workspaces: Path = Field(description="Finished local builds, <app>/<build id>/.")
    caches: Path = Field(description="Dependency caches of local builds, <app>/.")
    run_dir: Path = Field(description="Private directory for the hook's socket and scripts.")
    process_mark: str | None = Field(None, description="Value of WORKFLOW_HOME_ID in every process started.")

    runner: Literal["local", "kubernetes"] = Field(
        "local", description="What builds: processes of this machine, or Jobs of a cluster."
    )
    build_timeout: timedelta = Field(timedelta(minutes=30), description="Stop a build after this long.")
    build_disk_bytes: int = Field(4 * GIB, ge=MIB, description="What a build may write to disk.")
    build_log_bytes: int = Field(32 * MIB, ge=1024, description="A stored log is cut off after this many bytes.")
    builds_at_once: int = Field(4, ge=1, description="Builds of different apps that run at the same time.")
    builds_kept: int = Field(
        10,
        ge=1,
        description="Each app's newest builds are kept, besides those that the controller may roll back to; those that "
        "ran last where it cannot tell.",
    )
    build_logs_kept: int = Field(
        100, ge=1, description="Each app's newest logs are kept, besides those of kept builds."
    )
    build_cache_kept: timedelta = Field(
        timedelta(days=30), description="Layers that builds keep in the registry for the next one are removed then."
    )
    clean_interval: timedelta = Field(
        timedelta(hours=1), description="Look this often for what nobody needs any more, and for deleted apps."
    )
    verdict_timeout: timedelta = Field(
        timedelta(minutes=5), description="How long a push waits to hear of its release."
    )
    max_push_bytes: int = Field(1 * GIB, ge=1024, description="Largest pack that a push may send.")
    upload_idle_timeout: timedelta = Field(
        timedelta(minutes=10), description="Close a push that sends, or reads, nothing so long."
    )

    @field_validator("run_dir")
    @classmethod
    def _fits_a_socket(cls, value: Path) -> Path:
        if len(str(value / HOOK_SOCKET)) > MAX_SOCKET_PATH:
            raise ValueError("the path is too long for a unix socket; choose a shorter directory")
        return value

    @property
    def hook_socket(self) -> Path:
        return self.run_dir / HOOK_SOCKET
