"""A database that cannot be used now: told apart from statements that are wrong, and answered 503 by every service."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from shared.db import Database, DatabaseAwayError, database, is_database_away
from shared.web import create_service_app
from support.fixtures import MakeDatabase

UNREACHABLE = (
    "postgresql+asyncpg://nobody@/none?host=/nowhere/at/all",
    "postgresql+asyncpg://nobody@127.0.0.1:9/none",
)


async def ask(used: Database, statement: str = "SELECT 1") -> None:
    async with used.transaction() as session:
        await session.execute(text(statement))


@pytest.fixture(autouse=True)
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits ten seconds for a connection, or thirty for an answer."""
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_SECONDS", 0.2)
    monkeypatch.setattr(database, "COMMAND_TIMEOUT_SECONDS", 0.5)


@pytest_asyncio.fixture(loop_scope="session")
async def used(make_database: MakeDatabase, short_waits: None) -> AsyncIterator[Database]:
    """A database with one connection."""
    used = Database(await make_database(), pool_size=1)
    yield used
    await used.close()


@pytest.mark.parametrize("url", UNREACHABLE)
async def test_nobody_there(url: str) -> None:
    away = Database(url)
    with pytest.raises(DatabaseAwayError):
        await ask(away)
    with pytest.raises(DatabaseAwayError):
        async with away.reading() as connection:
            await connection.execute(text("SELECT 1"))
    with pytest.raises(DatabaseAwayError):
        async with away.try_lock("any"):
            pass
    await away.close()


async def test_all_connections_in_use(used: Database) -> None:
    async with used.transaction() as session:
        await session.execute(text("SELECT 1"))
        with pytest.raises(DatabaseAwayError, match="connection"):
            await ask(used)
    await ask(used)


@pytest.mark.parametrize("statement", ["SELECT pg_terminate_backend(pg_backend_pid())", "SELECT pg_sleep(5)"])
async def test_a_connection_that_breaks_or_says_nothing_any_more(used: Database, statement: str) -> None:
    with pytest.raises(DatabaseAwayError) as caught:
        await ask(used, statement)
    assert is_database_away(caught.value)
    await ask(used)


async def test_a_task_that_is_cancelled_amid_a_statement_ends(used: Database) -> None:
    task = asyncio.create_task(ask(used, "SELECT pg_sleep(0.4)"))
    await asyncio.sleep(0.1)
    task.cancel()
    await asyncio.wait((task,))
    assert task.cancelled()
    await ask(used)


async def test_what_statements_do_wrong_is_no_absence(used: Database) -> None:
    for statement in ("SELECT nothing", "SELECT 1/0", "DO $$ BEGIN RAISE EXCEPTION 'no'; END $$"):
        with pytest.raises(Exception) as caught:  # noqa: PT011  which it is does not matter
            await ask(used, statement)
        assert not isinstance(caught.value, DatabaseAwayError)


async def test_services_answer_503(used: Database) -> None:
    app = create_service_app(title="t", service="t", lifespan=None, checks={})
    client = httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://t")
    _add_route(app, used)
    async with client, used.transaction() as session:
        await session.execute(text("SELECT 1"))
        answers = await asyncio.gather(*(client.get("/") for _ in range(2)))
    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert int(answer.headers["retry-after"]) > 0


def _add_route(app: FastAPI, used: Database) -> None:
    @app.get("/")
    async def root() -> None:
        await ask(used)


@pytest.mark.parametrize(
    ("statement", "value"),
    [("CAST(:value AS text)", "a\0b"), ("CAST(:value AS text)", "\udce9"), ("CAST(:value AS int)", 2**40)],
)
async def test_a_value_that_cannot_be_stored_is_no_absence(used: Database, statement: str, value: object) -> None:
    with pytest.raises(DBAPIError) as caught:
        async with used.transaction() as session:
            await session.execute(text(f"SELECT {statement}"), {"value": value})
    assert not is_database_away(caught.value)
