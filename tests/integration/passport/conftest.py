"""Fixtures of passport's tests."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from integration.passport.world import Passport, make_settings, running
from support.fixtures import MakeDatabase


@pytest_asyncio.fixture(loop_scope="session")
async def passport(make_database: MakeDatabase) -> AsyncIterator[Passport]:
    """A fresh service with one account, the administrator."""
    async with running(make_settings(await make_database("passport"))) as service:
        yield service
