"""A request that was answered 2xx is stored; one that could not be stored is never answered so."""

from __future__ import annotations

from sqlalchemy import event, text
from sqlalchemy.engine import Engine

from support.controller_api import Api

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
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        for _ in range(3):
            assert (await ana.client.get("/v2/")).status_code == 200
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(statements) == 1
