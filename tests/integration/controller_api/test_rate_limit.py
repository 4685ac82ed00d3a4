"""Who asks too often is told when to come again; others do not notice."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from support.controller_api import BUILDER_KEY, Api, running_api
from support.fixtures import MakeDatabase
from support.go_websocket import GoWebSocket, RefusedError

BURST = 5


@pytest_asyncio.fixture(loop_scope="session")
async def api(make_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller that allows five requests at once and next to none after that."""
    url = await make_database("controller")
    async with running_api(url, run_worker=False, served=True, rate_limit=0.001, rate_burst=BURST) as api:
        yield api


async def test_a_token_has_its_burst_and_then_a_pause(api: Api) -> None:
    ana, bo = await api.person("ana"), await api.person("bo")
    for _ in range(BURST):
        assert (await ana.client.get("/v2/apps/")).status_code == 200
    refused = await ana.client.get("/v2/apps/")
    assert refused.status_code == 429
    seconds = int(refused.headers["retry-after"])
    assert 900 < seconds <= 1000
    assert refused.json() == {"detail": f"too many requests; try again in {seconds} s"}
    assert refused.headers["DRYCC_API_VERSION"] == "2.3"
    assert refused.headers["x-request-id"]
    problem = await ana.client.get("/v2/apps/", headers={"accept": "application/problem+json"})
    assert problem.json()["code"] == "too-many-requests"
    assert (await bo.client.get("/v2/apps/")).status_code == 200


async def test_a_token_is_the_same_however_it_is_written(api: Api) -> None:
    ana = await api.person("ana")
    ways = ["token {}", "Token {}", "TOKEN  {}", "token\t{}", " token {}", "token {} "]
    headers = [{"Authorization": way.format(ana.token)} for way in ways]
    statuses = [(await api.anonymous.get("/v2/", headers=each)).status_code for each in headers]
    assert statuses == [200] * BURST + [429]


async def test_nothing_happens_for_who_is_refused(api: Api) -> None:
    ana = await api.person("ana")
    for _ in range(BURST):
        await ana.client.get("/v2/apps/")
    assert (await ana.client.post("/v2/apps/", json={"id": "never"})).status_code == 429
    bo = await api.person("bo", is_superuser=True)
    assert (await bo.client.get("/v2/apps/")).json()["count"] == 0


async def test_builders_are_counted_by_their_key(api: Api) -> None:
    headers = {"X-Drycc-Builder-Auth": BUILDER_KEY}
    statuses = [(await api.anonymous.get("/v2/hooks/key/x", headers=headers)).status_code for _ in range(BURST + 1)]
    assert statuses == [404] * BURST + [429]


async def test_logins_are_counted_by_address_whatever_they_send(api: Api) -> None:
    for number in range(BURST):
        headers = {"Authorization": f"token made-up-{number}"}
        assert (await api.anonymous.post("/v2/auth/login/", headers=headers)).status_code == 302
    assert (await api.anonymous.get("/v2/auth/token/some-key/")).status_code == 429
    assert (await api.anonymous.get("/v2/login/drycc/?key=x")).status_code == 429


async def test_anonymous_requests_and_health_are_not_counted(api: Api) -> None:
    for _ in range(3 * BURST):
        assert (await api.anonymous.get("/v2/")).status_code == 401
        assert (await api.anonymous.get("/healthz")).status_code == 200


async def test_streams_are_counted_too(api: Api) -> None:
    ana = await api.person("ana")
    for _ in range(BURST):
        await ana.client.get("/v2/apps/")
    assert api.address is not None
    assert api.address.host is not None
    assert api.address.port is not None
    with pytest.raises(RefusedError, match="429"):
        await GoWebSocket.dial(api.address.host, api.address.port, "/v2/apps/any/logs", token=ana.token)
