"""`workflow-passport serve | migrate | create-user | set-password | bootstrap-code | rotate-keys`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from passport.context import open_context
from passport.domain.accounts import NewAccount
from passport.main import create_app
from passport.settings import Settings
from shared.db import migrate as migrate_database
from shared.logging import configure_logging
from shared.process import run, run_program
from shared.settings import load_settings
from shared.web import serve as serve_app

cli = typer.Typer(help="Accounts and logins of Workflow.", no_args_is_help=True, add_completion=False)

Username = Annotated[str, typer.Argument(help="The person's username.")]


@cli.command()
def serve() -> None:
    """Answer HTTP until SIGTERM."""
    settings = _settings()
    run(serve_app(create_app(settings), settings, install_signal_handlers=True))


@cli.command()
def migrate() -> None:
    """Bring the database to what this version needs; create it when it is missing."""
    run(migrate_database(_settings().require_database_url(), "passport"))


@cli.command()
def create_user(
    username: Username,
    email: Annotated[str, typer.Option(help="E-mail address.")] = "",
    first_name: Annotated[str, typer.Option(help="First name.")] = "",
    last_name: Annotated[str, typer.Option(help="Last name.")] = "",
    admin: Annotated[bool, typer.Option("--admin", help="May do everything: staff and superuser.")] = False,
) -> None:
    """Make an account. The password is read from standard input, or asked for at a terminal."""
    new = NewAccount(username, email, first_name, last_name, is_staff=admin, is_superuser=admin)
    settings, password = _settings(), _read_password()

    async def create() -> int:
        async with open_context(settings) as context:
            return (await context.accounts.create(new, password=password)).id

    print(f"created {username}, id {run(create())}")


@cli.command()
def set_password(username: Username) -> None:
    """Give an account another password, read like `create-user` does. Its sessions and tokens end."""
    settings, password = _settings(), _read_password()

    async def change() -> None:
        async with open_context(settings) as context:
            await context.accounts.set_password(username, password)

    run(change())
    print(f"the password of {username} is changed")


@cli.command()
def bootstrap_code() -> None:
    """Print a new code with which the first person to register becomes the administrator. Older codes are void."""
    settings = _settings()

    async def renew() -> str:
        async with open_context(settings) as context:
            return await context.bootstrap.renew()

    print(run(renew()))
    print(f"register with it on {settings.registration_url}", file=sys.stderr)


@cli.command()
def rotate_keys(
    now: Annotated[
        bool, typer.Option("--now", help="A key has leaked: drop all others at once; every token becomes invalid.")
    ] = False,
) -> None:
    """Add a signing key. It signs a quarter of an hour from now, when others have learnt of it."""
    settings = _settings()

    async def rotate() -> str:
        async with open_context(settings) as context:
            key = await context.keys.rotate(at_once=now)
            return f"key {key.kid} signs from {key.active_from:%Y-%m-%dT%H:%M:%SZ}"

    print(run(rotate()))


def main() -> None:
    """The program: what is expected to go wrong ends it with one line per error and status 1."""
    run_program(cli)


def _settings() -> Settings:
    settings = load_settings(Settings)
    configure_logging(service="passport", level=settings.log_level, fmt=settings.log_format)
    return settings


def _read_password() -> str:
    if sys.stdin.isatty():
        password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
        return password
    return sys.stdin.readline().rstrip("\r\n")
