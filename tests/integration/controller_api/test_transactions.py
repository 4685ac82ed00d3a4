"""A request that was answered 2xx is stored; one that could not be stored is never answered so."""

from __future__ import annotations

import pytest
from sqlalchemy import text

from shared.db import database
from support import eventually
from support.controller_api import Api, running_api
from support.fixtures import MakeDatabase
from support.statements import heard_statements

FUNCTION = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$
"""
TRIGGER = """
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON keys DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION refuse()
"""


async def test_a_failing_commit_is_no_success(api: Api) -> None:
    ana = await api.person("ana")
    async with api.context.database.transaction() as session:
        for statement in (FUNCTION, TRIGGER):
            await session.execute(text(statement))
    response = await ana.client.post("/v2/keys/", json={"id": "lost", "public": "ssh-ed25519 AAAAC3Nz"})
    assert (response.status_code, response.json()) == (500, {"detail": "Server Error"})
    assert response.headers["DRYCC_API_VERSION"] == "2.3"
    assert (await ana.client.get("/v2/keys/")).json()["count"] == 0


async def test_a_refused_request_leaves_nothing(api: Api) -> None:
    ana = await api.person("ana")
    await api.create("whole")
    body = {"username": "nobody", "permissions": "view"}
    assert (await ana.client.post("/v2/apps/whole/perms/", json=body)).status_code == 404
    assert (await ana.client.get("/v2/apps/whole/perms/")).json()["count"] == 0


async def test_knowing_who_asks_costs_one_query_and_then_none(api: Api) -> None:
    ana = await api.person("ana")

    async def statements() -> int:
        with heard_statements() as heard:
            assert (await ana.client.get("/v2/")).status_code == 200
        return len(heard)

    async def costs_nothing() -> bool:
        return await statements() == 0

    assert await statements() == 1
    await eventually(costs_nothing)  # once more when the process begins to hear of what others do


async def test_without_a_free_connection_it_is_a_503(
    make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "CONNECT_TIMEOUT_SECONDS", 0.2)
    url = await make_database("controller")
    async with running_api(url, run_worker=False, database_pool_size=1) as api:
        ana = await api.person("ana")
        async with api.context.database.transaction() as session:
            await session.execute(text("SELECT 1"))
            busy = await ana.client.get("/v2/apps/")
            problem = await ana.client.get("/v2/apps/", headers={"Accept": "application/problem+json"})
        assert (busy.status_code, busy.json()) == (503, {"detail": "the database is busy or away; try again"})
        assert int(busy.headers["retry-after"]) > 0
        assert busy.headers["DRYCC_API_VERSION"] == "2.3"
        assert (problem.status_code, problem.json()["code"]) == (503, "unavailable")
        assert (await ana.client.get("/v2/apps/")).status_code == 200


async def test_one_connection_is_enough_for_a_request(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, run_worker=False, database_pool_size=1) as api:
        ana = await api.person("ana")
        await api.create("alone")
        for path in ("/v2/apps/", "/v2/apps/alone/", "/v2/apps/alone/config/", "/v2/tokens/"):
            api.context.authenticator.forget_user(ana.account.id)
            assert (await ana.client.get(path)).status_code == 200
        api.context.authenticator.forget_user(ana.account.id)
        values = [{"name": "A", "value": "1", "group": "global"}]
        assert (await ana.client.post("/v2/apps/alone/config/", json={"values": values})).status_code == 201


async def test_without_a_database_it_is_a_503() -> None:
    async with running_api("postgresql+asyncpg://nobody@127.0.0.1:9/none", run_worker=False) as api:
        answer = await api.anonymous.get("/v2/", headers={"Authorization": "token drycc_pat_any"})
        assert (answer.status_code, answer.json()) == (503, {"detail": "the database is busy or away; try again"})
