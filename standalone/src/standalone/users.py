"""Accounts of the platform on this machine, made by whoever owns the data directory."""

from __future__ import annotations

import sys

import typer

from passport.domain.accounts import NewAccount
from passport.services.accounts import AccountService
from passport.services.passwords import Passwords
from shared.clock import SystemClock
from shared.db import Database
from standalone.home import Home
from standalone.postgres import EmbeddedPostgres


async def create_user(home: Home, username: str, *, email: str, password: str, administrator: bool) -> None:
    """Make an account; the running platform knows it at once.

    Raises:
        SuiteError: the name or the address is taken, or a value is not good enough.
    """
    new = NewAccount(username, email, is_staff=administrator, is_superuser=administrator)
    database = _passport_database(home)
    try:
        await AccountService(database, passwords=Passwords(), clock=SystemClock()).create(new, password=password)
    finally:
        await database.close()


async def set_password(home: Home, username: str, *, password: str) -> None:
    """Give an account another password and end its sessions.

    Raises:
        SuiteError: there is no such account, or the password is not good enough.
    """
    database = _passport_database(home)
    try:
        await AccountService(database, passwords=Passwords(), clock=SystemClock()).set_password(username, password)
    finally:
        await database.close()


def read_password() -> str:
    """Ask for a password twice; from a pipe, its first line."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


def _passport_database(home: Home) -> Database:
    server = EmbeddedPostgres(home.postgres, socket_dir=home.postgres_socket, log_file=home.postgres_log)
    return Database(server.url("passport"), pool_size=1)
