"""A lock that one process holds for as long as it runs, on a real PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest
import pytest_asyncio
from sqlalchemy import text

from shared.db import Database, DatabaseAwayError
from shared.db.leader import LeaderLock
from support import eventually
from support.fixtures import MakeDatabase
from support.tcp_proxy import TcpProxy, line_to_database


@dataclass
class Two:
    """Two ways to one database; the first leads over a line."""

    far: Database
    near: Database
    line: TcpProxy
    locks: list[LeaderLock] = field(default_factory=list)

    def lock(self, database: Database, key: str = "seat") -> LeaderLock:
        self.locks.append(database.leader_lock(key))
        return self.locks[-1]


@pytest_asyncio.fixture
async def two(make_database: MakeDatabase) -> AsyncIterator[Two]:
    url = await make_database("support.sample_service")
    async with line_to_database(url, TcpProxy) as (line, far):
        made = Two(Database(far), Database(url), line)
        yield made
        for lock in made.locks:
            await lock.release()
        await made.far.close()
        await made.near.close()


async def test_one_holds_it_and_the_other_learns_who(two: Two) -> None:
    first, second = two.lock(two.far), two.lock(two.near)
    assert await second.holder() is None
    assert not await first.is_kept()
    assert await first.take()
    assert await first.is_kept()
    assert not await second.take()
    assert not await second.is_kept()
    holder = await second.holder()
    assert holder is not None
    assert holder == await first.holder()
    async with two.near.reading() as connection:
        now = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
    assert 0 <= (now - holder.since).total_seconds() < 60
    assert await two.lock(two.near, "another seat").take()
    await first.release()
    assert await eventually(second.take)
    assert not await first.take()


async def test_it_goes_with_the_connection(two: Two) -> None:
    first, second = two.lock(two.far), two.lock(two.near)
    assert await first.take()
    await two.line.cut()
    assert not await first.is_kept()
    with pytest.raises(DatabaseAwayError):
        await first.take()
    await eventually(second.take)
    await two.line.open()
    assert not await first.take()
    assert await second.is_kept()


async def test_an_old_connection_of_its_own_does_not_keep_it_out(two: Two) -> None:
    lock, other = two.lock(two.far), two.lock(two.near)
    assert await lock.take()
    old = await other.holder()
    two.line.strand()  # the database does not learn that it ends
    assert not await lock.is_kept()
    assert await eventually(lock.take)
    assert await other.holder() not in (old, None)
