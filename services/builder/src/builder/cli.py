"""`workflow-builder serve | migrate`."""

from __future__ import annotations

import typer

from builder.main import create_app
from builder.settings import Settings
from shared.db import migrate as migrate_database
from shared.logging import configure_logging
from shared.process import run, run_program
from shared.settings import SettingsError, load_settings
from shared.web import serve as serve_app

cli = typer.Typer(help="Git over SSH and builds of Workflow.", no_args_is_help=True, add_completion=False)


@cli.command()
def serve() -> None:
    """Take pushes, build them and answer HTTP, until SIGTERM."""
    settings = _settings()
    run(serve_app(create_app(settings), settings, install_signal_handlers=True))


@cli.command()
def migrate() -> None:
    """Bring the database to what this version needs; create it when it is missing."""
    settings = _settings()
    if settings.database_url is None:
        raise SettingsError("BUILDER_DATABASE_URL: is required; set it to the URL of the database `builder`")
    run(migrate_database(settings.database_url, "builder"))


def main() -> None:
    """The program: what is expected to go wrong ends it with one line per error and status 1."""
    run_program(cli)


def _settings() -> Settings:
    settings = load_settings(Settings)
    configure_logging(service="builder", level=settings.log_level, fmt=settings.log_format)
    return settings
