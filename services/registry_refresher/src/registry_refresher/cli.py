"""`workflow-registry-refresher serve`."""

from __future__ import annotations

import typer

from registry_refresher.main import create_app
from registry_refresher.settings import Settings
from shared.logging import configure_logging
from shared.process import run, run_program
from shared.settings import load_settings
from shared.web import serve as serve_app

cli = typer.Typer(help="Keeps the pull credentials of app namespaces valid.", add_completion=False)


@cli.callback()
def commands() -> None:
    """Keeps the pull credentials of app namespaces valid."""


@cli.command()
def serve() -> None:
    """Consume app events, make passes and answer health requests, until SIGTERM."""
    settings = load_settings(Settings)
    configure_logging(service="registry_refresher", level=settings.log_level, fmt=settings.log_format)
    run(serve_app(create_app(settings), settings, install_signal_handlers=True))


def main() -> None:
    """The program: what is expected to go wrong ends it with one line per error and status 1."""
    run_program(cli)
