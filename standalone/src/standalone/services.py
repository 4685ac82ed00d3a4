"""The suite's services, composed for one machine: their settings out of the data directory, their apps on one bus."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from shared.bus.port import Bus
from shared.settings import ServiceSettings, load_settings
from standalone.errors import HomeNotUsableError
from standalone.home import Config, Home
from standalone.postgres import EmbeddedPostgres

CONTROLLER_AUDIENCE = "controller"
BUILDER_AUDIENCE = "builder"
RELEASES_KEPT = 10  # each has a workspace on this machine's disk


@dataclass(frozen=True)
class Service:
    """One service: its name, its package (migrations stand below it), its settings and how to make its app."""

    name: str
    settings: ServiceSettings
    make: Callable[[Bus], FastAPI]

    @property
    def has_database(self) -> bool:
        """Whether it keeps state of its own."""
        return self.settings.database_url is not None


def compose(home: Home, config: Config, postgres: EmbeddedPostgres) -> list[Service]:
    """All services in the order in which they depend on each other."""
    return [
        _passport(home, config, postgres),
        _controller(home, config, postgres),
        _builder(home, config, postgres),
        _hooks(home, config, postgres),
        _registry_refresher(home),
    ]


def _common(home: Home, name: str, postgres: EmbeddedPostgres | None, *, pool: int = 8) -> dict[str, object]:
    database = {"database_url": postgres.url(name), "database_pool_size": pool} if postgres else {"database_url": None}
    return {"bind_socket": home.socket(name), "bus_url": "memory://", **database}


def _issuer(config: Config) -> str:
    return f"{config.url('drycc-passport')}/oauth"


def _passport(home: Home, config: Config, postgres: EmbeddedPostgres) -> Service:
    from passport.main import create_app
    from passport.settings import Settings

    controller = config.url("drycc")
    settings = load_settings(
        Settings,
        **_common(home, "passport", postgres),
        issuer=_issuer(config),
        encryption_keys=[config.passport_encryption_key],
        admin_username=config.admin_username,
        admin_password=config.admin_password,
        clients=[
            {
                "client_id": "controller",
                "client_secret": config.controller_client_secret,
                "name": "Workflow",
                "redirect_uris": [f"{controller}/v2/complete/drycc/"],
                "grants": ["authorization_code", "password", "refresh_token", "client_credentials"],
                "scopes": ["openid", "profile", "email"],
                "audiences": [CONTROLLER_AUDIENCE],
                "skip_consent": True,
            },
            {
                "client_id": "builder",
                "client_secret": config.builder_client_secret,
                "name": "Workflow builder",
                "redirect_uris": [],
                "grants": ["client_credentials"],
                "scopes": ["controller:hook"],
                "audiences": [CONTROLLER_AUDIENCE],
                "skip_consent": True,
            },
        ],
    )
    return Service("passport", settings, lambda bus: create_app(settings, bus=bus))


def _controller(home: Home, config: Config, postgres: EmbeddedPostgres) -> Service:
    from controller.main import create_app
    from controller.settings import Settings

    settings = load_settings(
        Settings,
        **_common(home, "controller", postgres, pool=16),
        public_url=config.url("drycc"),
        passport_url=config.url("drycc-passport"),
        passport_socket=home.socket("passport"),
        issuer=_issuer(config),
        passport_client_id="controller",
        passport_client_secret=config.controller_client_secret,
        encryption_keys=_key_ring(home),
        encryption_keys_file=home.key_ring,
        engine="local",
        run_worker=True,
        workspaces=home.workspaces,
        logs=home.app_logs,
        run_dir=home.run,
        edge_dir=home.edge,
        process_mark=config.home_id,
        app_domain=config.domain,
        app_url_template=config.url("{app}"),
        releases_kept=RELEASES_KEPT,
    )
    return Service("controller", settings, lambda bus: create_app(settings, bus=bus))


def _key_ring(home: Home) -> list[str]:
    from controller.repositories.cipher import read_key_ring

    try:
        return read_key_ring(home.key_ring)
    except (OSError, ValueError) as exc:
        raise HomeNotUsableError(
            f"the controller's keys cannot be read ({exc}); restore {home.key_ring}, without it no secret can be read"
        ) from exc


def _builder(home: Home, config: Config, postgres: EmbeddedPostgres) -> Service:
    from builder.main import create_app
    from builder.settings import Settings

    settings = load_settings(
        Settings,
        **_common(home, "builder", postgres),
        controller_url=config.url("drycc"),
        controller_socket=home.socket("controller"),
        passport_url=config.url("drycc-passport"),
        passport_socket=home.socket("passport"),
        issuer=_issuer(config),
        client_id="builder",
        client_secret=config.builder_client_secret,
        ssh_host=config.bind,
        ssh_port=config.ssh_port,
        repos=home.repos,
        host_key_dir=home.ssh,
        build_logs=home.build_logs,
        workspaces=home.workspaces,
        caches=home.caches,
        run_dir=home.run,
        process_mark=config.home_id,
        drain_seconds=0,  # what stops here stops with all that it runs
    )
    return Service("builder", settings, lambda bus: create_app(settings, bus=bus))


def _hooks(home: Home, config: Config, postgres: EmbeddedPostgres) -> Service:
    from hooks.main import create_app
    from hooks.settings import Settings

    settings = load_settings(
        Settings,
        **_common(home, "hooks", postgres, pool=4),
        issuer=_issuer(config),
        passport_url=config.url("drycc-passport"),
        passport_socket=home.socket("passport"),
    )
    return Service("hooks", settings, lambda bus: create_app(settings, bus=bus))


def _registry_refresher(home: Home) -> Service:
    from registry_refresher.main import create_app
    from registry_refresher.settings import Settings

    settings = load_settings(Settings, **_common(home, "registry_refresher", None))
    return Service("registry_refresher", settings, lambda bus: create_app(settings, bus=bus))


def sockets(home: Home) -> dict[str, Path]:
    """The sockets on which the services answer, for health checks from outside."""
    return {name: home.socket(name) for name in ("passport", "controller", "builder", "hooks", "registry_refresher")}
