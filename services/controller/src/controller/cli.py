"""`workflow-controller`: serve the API, do the background work, bring the database up to date."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated

import typer

from controller.main import create_app, render_openapi
from controller.repositories.cipher import Cipher, UnreadableSecretError
from controller.services.rotation import Rotation, TableReport
from controller.settings import Settings
from controller.worker import open_process, working
from shared.db import Database
from shared.db import migrate as migrate_database
from shared.logging import configure_logging
from shared.process import run, run_program, settle
from shared.settings import load_settings
from shared.web import serve as serve_app

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)


@app.command()
def serve() -> None:
    """Serve the API, and do the background work unless CONTROLLER_RUN_WORKER is false."""
    settings = _settings()
    run(serve_app(create_app(settings), settings, install_signal_handlers=True))


@app.command()
def work() -> None:
    """Do the background work alone: consumers, outbox relay, reconciler."""
    run(_work(_settings()))


@app.command()
def migrate() -> None:
    """Bring the database to the state that this version needs."""
    run(migrate_database(_settings().require_database_url(), "controller"))


@app.command("rotate-keys")
def rotate_keys(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Encrypt all stored secrets anew, with the first of CONTROLLER_ENCRYPTION_KEYS, while the platform runs.

    Give every process the new key first; take the old one out of the list when this has ended well.
    """
    run(_rotate(_settings(), as_json=as_json))


@app.command("openapi")
def print_openapi() -> None:
    """Print the OpenAPI document; needs neither settings nor a database."""
    typer.echo(render_openapi(), nl=False)


def main() -> None:
    """Entry point of the `workflow-controller` command."""
    run_program(app)


async def _work(settings: Settings) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with open_process(settings, is_worker=True) as context, working(context):
        settle()
        await stop.wait()


async def _rotate(settings: Settings, *, as_json: bool) -> None:
    keys = [key.get_secret_value() for key in settings.encryption_keys]
    database = Database(settings.require_database_url(), pool_size=1)
    try:
        rotation = Rotation(database, Cipher(keys, file=settings.encryption_keys_file), progress=_tell(as_json))
        report = await rotation.run(actor="operator")
    finally:
        await database.close()
    if as_json:
        typer.echo(json.dumps({**asdict(report), "renewed": report.renewed, "unreadable": report.unreadable}))
    if report.unreadable:
        raise UnreadableSecretError(
            f"{report.unreadable} secrets open with no key of the list and were left as they are: put the former key "
            "back into the list and run this again"
        )
    if not as_json:
        typer.echo(f"{report.renewed} secrets have the first key now, and so has all else: the others can go.")


def _tell(as_json: bool) -> Callable[[str, TableReport], None]:
    def tell(name: str, table: TableReport) -> None:
        if not as_json:
            typer.echo(f"{name}: {table.rows} rows, {table.renewed} secrets renewed")

    return tell


def _settings() -> Settings:
    settings = load_settings(Settings)
    settings.require_database_url()
    configure_logging(service="controller", level=settings.log_level, fmt=settings.log_format)
    return settings


if __name__ == "__main__":
    main()
