"""One controller for each module of these tests; each test makes its own apps."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest_asyncio

from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(make_module_database: MakeDatabase) -> AsyncIterator[Api]:
    """The running controller."""
    async with running_api(await make_module_database("controller")) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def ana(api: Api) -> Person:
    """Somebody without special rights."""
    return await api.person("ana")


@pytest_asyncio.fixture(loop_scope="session")
async def bo(api: Api) -> Person:
    """Somebody else."""
    return await api.person("bo")


@pytest_asyncio.fixture(loop_scope="session")
async def root(api: Api) -> Person:
    """A superuser."""
    return await api.person("root", is_superuser=True)


@pytest_asyncio.fixture(loop_scope="session")
async def staff(api: Api) -> Person:
    """A member of the staff."""
    return await api.person("sam", is_staff=True)
