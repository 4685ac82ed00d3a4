"""A controller and an identity provider, with a clock that the tests move."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support import FakeClock
from support.controller_api import Api, running_api
from support.fixtures import MakeDatabase
from support.stand_in_passport import StandInPassport, running_passport


@pytest.fixture
def clock() -> FakeClock:
    """The controller's clock."""
    return FakeClock()


@pytest_asyncio.fixture(loop_scope="session")
async def passport() -> AsyncIterator[StandInPassport]:
    """The identity provider, with one account."""
    async with running_passport() as passport:
        passport.add("ana")
        yield passport


@pytest_asyncio.fixture(loop_scope="session")
async def api(make_database: MakeDatabase, passport: StandInPassport, clock: FakeClock) -> AsyncIterator[Api]:
    """The controller that trusts it, without its worker."""
    url = await make_database("controller")
    async with running_api(url, passport_url=passport.url, clock=clock, run_worker=False) as api:
        yield api
