"""`workflow-controller`: serve the API, do the background work, bring the database up to date."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import typer

from controller.main import create_app
from controller.settings import Settings
from controller.worker import open_process, working
from shared.db import migrate as migrate_database
from shared.errors import SuiteError
from shared.logging import configure_logging
from shared.settings import load_settings
from shared.web import serve as serve_app

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def serve() -> None:
    """Serve the API, and do the background work unless CONTROLLER_RUN_WORKER is false."""
    settings = _settings()
    _run(serve_app(create_app(settings), settings, install_signal_handlers=True))


@app.command()
def work() -> None:
    """Do the background work alone: consumers, outbox relay, reconciler."""
    _run(_work(_settings()))


@app.command()
def migrate() -> None:
    """Bring the database to the state that this version needs."""
    _run(migrate_database(_settings().require_database_url(), "controller"))


def main() -> None:
    """Entry point of the `workflow-controller` command."""
    app()


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_process(settings) as context, working(context):
        await stop.wait()


def _settings() -> Settings:
    try:
        settings = load_settings(Settings)
        settings.require_database_url()
    except (SuiteError, ValueError) as error:
        raise _fail(str(error)) from None
    configure_logging(service="controller", level=settings.log_level, fmt=settings.log_format)
    return settings


def _run(main_coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        asyncio.run(main_coroutine)
    except SuiteError as error:
        raise _fail(error.detail) from None


def _fail(reason: str) -> typer.Exit:
    typer.echo(reason, err=True)
    return typer.Exit(code=1)


if __name__ == "__main__":
    main()
