"""Fixtures: a core on empty tables, with a clock that stands still."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from sqlalchemy import text

from shared.db import Database
from shared.testing.clock import FakeClock
from support.controller_core import Core, make_core
from support.fixtures import MakeDatabase

_EMPTY = "TRUNCATE users, apps, outbox, inbox, audit_log, blocklist, idempotency_keys CASCADE"


@pytest.fixture
def clock() -> FakeClock:
    """A clock that tests move."""
    return FakeClock()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def core_database(make_module_database: MakeDatabase) -> AsyncIterator[Database]:
    """The controller's tables, for one module."""
    database = Database(await make_module_database("controller"))
    try:
        yield database
    finally:
        await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def core(core_database: Database, clock: FakeClock) -> Core:
    """The core, with the users ana and bo and nothing else."""
    async with core_database.transaction() as session:
        await session.execute(text(_EMPTY))
    made = make_core(core_database, clock)
    await made.add_users()
    return made
