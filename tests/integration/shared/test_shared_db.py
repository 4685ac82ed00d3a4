"""Databases, migrations, notifications and locks on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy import column, literal, select, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import IntegrityError

from shared.db import Database, MigrationError, UtcDateTime, migrate, notify
from standalone.postgres import EmbeddedPostgres
from support.fixtures import MakeDatabase
from support.sample_service import notes

SAMPLE = "support.sample_service"


async def _scalar(database: Database, statement: str) -> object:
    async with database.session() as session:
        return (await session.execute(text(statement))).scalar()


async def test_migrate_creates_the_database_and_goes_to_the_head(postgres: EmbeddedPostgres) -> None:
    url = postgres.url("shared_new")
    await migrate(url, SAMPLE)
    database = Database(url)
    try:
        assert await _scalar(database, "SELECT version_num FROM alembic_version") == "0002"
        await migrate(url, SAMPLE)
        assert await _scalar(database, "SELECT count(*) FROM notes") == 0
    finally:
        await database.close()


async def test_migrations_at_the_same_time_leave_one_result(postgres: EmbeddedPostgres) -> None:
    url = postgres.url("shared_raced")
    await asyncio.gather(*(migrate(url, SAMPLE) for _ in range(5)))
    database = Database(url)
    try:
        assert await _scalar(database, "SELECT count(*) FROM alembic_version") == 1
        held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = "
        assert await _scalar(database, held + "(SELECT oid FROM pg_database WHERE datname = 'shared_raced')") == 0
    finally:
        await database.close()


async def test_a_database_of_a_newer_version_is_refused(make_database: MakeDatabase) -> None:
    url = await make_database(SAMPLE)
    database = Database(url)
    try:
        async with database.transaction() as session:
            await session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    finally:
        await database.close()
    with pytest.raises(MigrationError, match="9999"):
        await migrate(url, SAMPLE)


async def test_a_package_without_migrations_is_named(make_database: MakeDatabase) -> None:
    with pytest.raises(MigrationError, match="support has no migrations"):
        await migrate(await make_database(), "support")


async def _insert_and_fail(database: Database) -> None:
    async with database.transaction() as session:
        await session.execute(notes.insert().values(id=2, body="lost"))
        raise KeyError


async def test_transaction_commits_or_rolls_back(make_database: MakeDatabase) -> None:
    database = Database(await make_database(SAMPLE))
    try:
        async with database.transaction() as session:
            await session.execute(notes.insert().values(id=1, body="kept"))
        with pytest.raises(KeyError):
            await _insert_and_fail(database)
        async with database.session() as session:
            await session.execute(notes.insert().values(id=3, body="never committed"))
        assert await _scalar(database, "SELECT array_agg(id) FROM notes") == [1]
    finally:
        await database.close()


async def test_errors_do_not_repeat_parameters(make_database: MakeDatabase) -> None:
    database = Database(await make_database(SAMPLE))
    try:
        with pytest.raises(IntegrityError) as caught:
            async with database.transaction() as session:
                await session.execute(notes.insert().values([{"id": 1, "body": "hunter2"}, {"id": 1, "body": "x"}]))
        assert "hunter2" not in str(caught.value)
    finally:
        await database.close()


async def test_datetimes_come_back_in_utc_and_naive_ones_are_refused(make_database: MakeDatabase) -> None:
    database = Database(await make_database())
    elsewhere = datetime(2026, 1, 5, 12, tzinfo=timezone(timedelta(hours=2)))
    try:
        async with database.session() as session:
            value = (await session.execute(select(literal(elsewhere, UtcDateTime)))).scalar_one()
            assert value == elsewhere
            assert value.tzinfo is UTC
            with pytest.raises(Exception, match="without a time zone"):
                await session.execute(select(column("x") == literal(datetime(2026, 1, 5), UtcDateTime)))
    finally:
        await database.close()


async def test_listen_hears_commits_only_and_joins_what_arrives_together(make_database: MakeDatabase) -> None:
    database = Database(await make_database())
    try:
        async with database.listen("one", "two") as heard, asyncio.timeout(10):
            assert {await anext(heard), await anext(heard)} == {"one", "two"}
            async with database.session() as session:
                await notify(session, "one")
                await session.rollback()
            async with database.transaction() as session:
                await notify(session, "two")
                await notify(session, "two")
            assert await anext(heard) == "two"
            async with database.transaction() as session:
                await notify(session, "one")
            assert await anext(heard) == "one"
    finally:
        await database.close()


async def test_listen_survives_the_loss_of_its_connection(make_database: MakeDatabase) -> None:
    database = Database(await make_database())
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'workflow-listen'"
    own = " AND datname = current_database()"
    try:
        async with database.listen("one") as heard, asyncio.timeout(10):
            assert await anext(heard) == "one"
            assert await _scalar(database, kill + own) is True
            assert await anext(heard) == "one"
            async with database.transaction() as session:
                await notify(session, "one")
            assert await anext(heard) == "one"
    finally:
        await database.close()


async def test_one_holder_of_a_lock_at_a_time(make_database: MakeDatabase) -> None:
    url = await make_database()
    first, second = Database(url), Database(url)
    try:
        async with first.try_lock("app:shop") as mine, second.try_lock("app:shop") as theirs:
            assert (mine, theirs) == (True, False)
            async with first.try_lock("app:shop") as again, second.try_lock("app:other") as other:
                assert (again, other) == (False, True)
        async with second.try_lock("app:shop") as free:
            assert free
    finally:
        await first.close()
        await second.close()


async def test_a_cancelled_holder_gives_its_lock_back(make_database: MakeDatabase) -> None:
    database = Database(await make_database())
    taken = asyncio.Event()

    async def hold() -> None:
        async with database.try_lock("app:shop"):
            taken.set()
            await asyncio.Event().wait()

    try:
        task = asyncio.create_task(hold())
        await taken.wait()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        async with database.try_lock("app:shop") as free:
            assert free
    finally:
        await database.close()


async def test_locks_do_not_starve_queries(make_database: MakeDatabase) -> None:
    database = Database(await make_database(), pool_size=1)
    try:
        async with AsyncExitStack() as stack, asyncio.timeout(10):
            for number in range(10):
                assert await stack.enter_async_context(database.try_lock(f"app:{number}"))
            assert await _scalar(database, "SELECT 1") == 1
    finally:
        await database.close()


async def test_ping_tells_whether_the_server_is_there(postgres: EmbeddedPostgres, make_database: MakeDatabase) -> None:
    url = make_url(await make_database())
    there, gone = Database(url.render_as_string(False)), Database(postgres.url("nowhere"))
    try:
        await there.ping()
        with pytest.raises(Exception, match="nowhere"):
            await gone.ping()
    finally:
        await there.close()
        await gone.close()
