"""What builders are told to keep, and what cannot be rolled back to any more."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest_asyncio

from support.controller_api import BUILDER_KEY, Api, running_api
from support.fixtures import MakeDatabase
from support.statements import heard_statements


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keeping_two(make_module_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller that keeps two releases."""
    async with running_api(await make_module_database("controller"), releases_kept=2) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def builder(keeping_two: Api) -> AsyncIterator[httpx.AsyncClient]:
    async with keeping_two.client(x_drycc_builder_auth=BUILDER_KEY) as client:
        yield client


async def test_the_builds_to_keep(keeping_two: Api, builder: httpx.AsyncClient) -> None:
    api = keeping_two
    await api.create("kept")
    path = "/v2/hooks/builds/kept"
    assert (await builder.get(path)).json() == {"builds": [], "images": []}
    for number in range(6):
        await api.build("kept", sha=f"a{number}", image=f"workspace/kept:{number}")
    with heard_statements() as heard:
        answer = await builder.get(path)
    assert answer.status_code == 200
    assert len(heard) == 2
    assert answer.json()["images"] == [f"workspace/kept:{number}" for number in (2, 3, 4, 5)]
    ana = await api.person("ana")
    newest = (await ana.client.get("/v2/apps/kept/build/")).json()
    assert newest["uuid"] in answer.json()["builds"]
    assert len(answer.json()["builds"]) == 4
    assert (await builder.get(f"{path}/")).json() == answer.json()


async def test_who_may_ask(keeping_two: Api, builder: httpx.AsyncClient) -> None:
    api = keeping_two
    await api.create("asked")
    assert (await api.anonymous.get("/v2/hooks/builds/asked")).status_code == 401
    assert (await (await api.person("ana")).client.get("/v2/hooks/builds/asked")).status_code == 403
    none = await builder.get("/v2/hooks/builds/nowhere")
    assert (none.status_code, none.json()) == (404, "No App matches the given query.")
    assert (await builder.post("/v2/hooks/builds/asked")).status_code == 405


async def test_a_release_that_is_too_old_cannot_be_rolled_back_to(keeping_two: Api) -> None:
    api = keeping_two
    await api.create("olden")
    for number in range(3):
        await api.build("olden", image=f"workspace/olden:{number}")
    ana = await api.person("ana")
    path = "/v2/apps/olden/releases/rollback/"
    refused = await ana.client.post(path, json={"version": 2})
    detail = "Cannot roll back to v2, which is too old: the oldest that still can be is v3."
    assert (refused.status_code, refused.json()) == (400, {"detail": detail})
    assert (await ana.client.get("/v2/apps/olden/releases/")).json()["count"] == 4
    assert (await ana.client.post(path, json={"version": 3})).status_code == 201
