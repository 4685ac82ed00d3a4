"""API processes beside each other on one database: what one of them ends is over in the others as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest_asyncio
from sqlalchemy import delete, text

from controller.schema.accounts import TokenRow
from shared.events import Envelope, UserChanged
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase


@pytest_asyncio.fixture(loop_scope="session")
async def pair(make_database: MakeDatabase) -> AsyncIterator[tuple[Api, Api]]:
    """Two processes; the second does no background work."""
    url = await make_database("controller")
    async with running_api(url) as first, running_api(url, run_worker=False) as second:
        yield first, second


@asynccontextmanager
async def known_to(other: Api, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a process that knows the person's token by heart, and hears of what others do."""

    async def is_listening() -> bool:
        async with other.context.database.reading() as session:
            query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE :listen"
            return bool((await session.execute(text(query), {"listen": "LISTEN %sign_ins%"})).scalar_one() >= 2)

    await eventually(is_listening)
    async with other.client(authorization=f"token {person.token}") as client:
        assert (await client.get("/v2/")).status_code == 200
        yield client


async def is_out(client: httpx.AsyncClient) -> bool:
    """Whether the token is not taken any more."""
    return (await client.get("/v2/")).status_code == 401


async def test_a_deleted_token_is_gone_everywhere(pair: tuple[Api, Api]) -> None:
    first, second = pair
    ana = await first.person("ana")
    async with known_to(second, ana) as client:
        uuid = (await ana.client.get("/v2/tokens/")).json()["results"][0]["uuid"]
        assert (await ana.client.delete(f"/v2/tokens/{uuid}/")).status_code == 204
        await eventually(lambda: is_out(client))


async def test_who_is_disabled_is_out_everywhere_and_in_again(pair: tuple[Api, Api]) -> None:
    first, second = pair
    ana, root = await first.person("ana"), await first.person("root", is_superuser=True)
    async with known_to(second, ana) as client:
        assert (await root.client.patch("/v2/users/ana/disable/")).status_code == 204
        await eventually(lambda: is_out(client))
        assert (await root.client.patch("/v2/users/ana/enable/")).status_code == 204

        async def is_in() -> bool:
            return not await is_out(client)

        await eventually(is_in)


async def test_news_of_a_person_count_everywhere(pair: tuple[Api, Api]) -> None:
    first, second = pair
    ana = await first.person("ana")
    async with known_to(second, ana) as client:
        closed = UserChanged(
            user_id=ana.account.id,
            username="ana",
            email="ana@example.org",
            is_active=False,
            is_staff=False,
            is_superuser=False,
        )
        await first.bus.publish(Envelope.wrap(closed, source="/services/passport"))
        await eventually(lambda: is_out(client))


async def test_what_was_missed_while_nobody_listened_counts_after_it(pair: tuple[Api, Api]) -> None:
    first, second = pair
    ana = await first.person("ana")
    async with known_to(second, ana) as client:
        async with first.context.database.transaction() as session:
            await session.execute(delete(TokenRow))  # which tells nobody
        assert not await is_out(client)
        async with first.context.database.transaction() as session:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN %sign_ins%'"
            await session.execute(text(query))
        await eventually(lambda: is_out(client))
