"""`Idempotency-Key`: a POST that comes again takes effect once and is answered as it was the first time."""

from __future__ import annotations

import asyncio
import base64
from datetime import timedelta
from typing import Any, cast

import httpx
import pytest
from sqlalchemy import select, text, update

from controller.background.pruning import Pruner
from controller.domain.idempotency import Claim
from controller.schema.audit import IdempotencyRow
from controller.schema.base import table_of
from support import FakeClock
from support.controller_api import BUILDER_KEY, PROCFILE, Api, Person, running_api
from support.fixtures import MakeDatabase

REPLAYED = "idempotent-replayed"


async def post(person: Person, path: str, body: Any, key: str, **headers: str) -> httpx.Response:
    """A POST with that key."""
    return await person.client.post(f"/v2/{path}", json=body, headers={"Idempotency-Key": key, **headers})


async def test_the_second_answer_is_the_first_one(api: Api, ana: Person) -> None:
    first = await post(ana, "apps/", {}, "create-1")
    again = await post(ana, "apps/", {}, "create-1")
    other = await post(ana, "apps/", {}, "create-2")
    assert (first.status_code, again.status_code, other.status_code) == (201, 201, 201)
    assert again.content == first.content
    assert again.headers["content-type"] == first.headers["content-type"]
    assert (first.headers.get(REPLAYED), again.headers.get(REPLAYED)) == (None, "true")
    assert other.json()["id"] != first.json()["id"]


async def test_a_release_is_made_once(api: Api, ana: Person) -> None:
    await api.create("once")
    body = {"image": "a/b", "stack": "container", "procfile": PROCFILE}
    answers = [await post(ana, "apps/once/build/", body, "build") for _ in range(3)]
    assert len({answer.content for answer in answers}) == 1
    assert (await ana.client.get("/v2/apps/once/releases/")).json()["count"] == 2
    config = {"values": [{"name": "A", "value": "s3cret", "group": "global"}]}
    first, again = [await post(ana, "apps/once/config/", config, "config") for _ in range(2)]
    assert (again.status_code, again.content, again.headers["etag"]) == (201, first.content, first.headers["etag"])
    assert (await ana.client.get("/v2/apps/once/releases/")).json()["count"] == 3


async def test_empty_answers_are_kept_as_well(api: Api, ana: Person) -> None:
    await api.create("empty-answers")
    await api.build("empty-answers")
    for _ in range(2):
        response = await post(ana, "apps/empty-answers/ptypes/restart/", {}, "restart")
        assert (response.status_code, response.content) == (204, b"")
    trail = (await ana.client.get("/v2/apps/empty-answers/audit/?action=processes.restarted")).json()
    assert trail["count"] == 1


@pytest.mark.parametrize(
    ("path", "body"),
    [("apps/", {"id": "reused-2"}), ("apps/?x=1", {"id": "reused-1"}), ("keys/", {"id": "reused-1"})],
)
async def test_a_key_is_for_one_request(api: Api, ana: Person, path: str, body: Any) -> None:
    assert (await post(ana, "apps/", {"id": "reused-1"}, "reused")).status_code == 201
    response = await post(ana, path, body, "reused")
    detail = "this Idempotency-Key came with another request before: use a new key for a new request"
    assert (response.status_code, response.json()) == (422, {"detail": detail})


async def test_keys_of_different_people_are_different(api: Api, ana: Person, bo: Person) -> None:
    one, two = await post(ana, "apps/", {}, "shared"), await post(bo, "apps/", {}, "shared")
    assert (one.json()["owner"], two.json()["owner"]) == ("ana", "bo")


async def test_refusals_are_not_kept(api: Api, ana: Person) -> None:
    await api.create("refusals")
    scale = {"web": 1}
    refused = await post(ana, "apps/refusals/ptypes/scale/", scale, "scale")
    assert refused.status_code == 400  # there is no build yet
    await api.build("refusals")
    assert (await post(ana, "apps/refusals/ptypes/scale/", scale, "scale")).status_code == 204


async def test_a_replay_asks_who_it_is_but_not_what_they_may(api: Api, ana: Person) -> None:
    await api.create("replayed")
    cleo = await api.grant("replayed", "cleo", "change")
    body = {"label": {"a": "1"}}
    assert (await post(cleo, "apps/replayed/settings/", body, "set")).status_code == 201
    await ana.client.delete("/v2/apps/replayed/perms/cleo/")
    assert (await post(cleo, "apps/replayed/settings/", body, "set")).headers[REPLAYED] == "true"
    assert (await post(cleo, "apps/replayed/settings/", body, "new")).status_code == 404
    refused = await api.anonymous.post("/v2/apps/", json={}, headers={"Idempotency-Key": "set"})
    assert refused.status_code == 401


@pytest.mark.parametrize("key", ["", "x" * 256, "a\tb", "ü"])
async def test_keys_that_are_none(ana: Person, key: str) -> None:
    headers = {b"Idempotency-Key": key.encode("latin-1")}
    response = await ana.client.send(ana.client.build_request("POST", "/v2/apps/", json={}, headers=headers))
    detail = "Idempotency-Key must be 1 to 255 printable ASCII characters"
    assert (response.status_code, response.json()) == (400, {"detail": detail})


async def test_other_methods_take_no_notice(api: Api, ana: Person) -> None:
    headers = {"Idempotency-Key": "x" * 300}
    assert (await ana.client.get("/v2/apps/", headers=headers)).status_code == 200


async def test_of_many_at_once_one_takes_effect(api: Api, ana: Person) -> None:
    await api.create("at-once")
    body = {"image": "a/b", "stack": "container", "procfile": PROCFILE}
    answers = await asyncio.gather(*(post(ana, "apps/at-once/build/", body, "at-once") for _ in range(8)))
    done = [answer for answer in answers if answer.status_code == 201]
    waiting = [answer for answer in answers if answer.status_code == 409]
    assert len(done) + len(waiting) == 8
    assert len({answer.content for answer in done}) == 1
    assert all(answer.headers["retry-after"] == "1" for answer in waiting)
    assert (await ana.client.get("/v2/apps/at-once/releases/")).json()["count"] == 2


async def test_builders_have_keys_too(api: Api, ana: Person) -> None:
    await api.create("hooked")
    body = {"receive_user": "ana", "receive_repo": "hooked", "image": "a/b", "stack": "container"}
    headers = {"X-Drycc-Builder-Auth": BUILDER_KEY, "Idempotency-Key": "push-1"}
    answers = [await api.anonymous.post("/v2/hooks/build/", json=body, headers=headers) for _ in range(2)]
    assert [answer.json() for answer in answers] == [{"release": {"version": 2}}] * 2
    assert (await ana.client.get("/v2/apps/hooked/releases/")).json()["count"] == 2


async def test_answers_are_stored_as_ciphertext(api: Api, ana: Person) -> None:
    await api.create("sealed-answer")
    config = {"values": [{"name": "A", "value": "s3cret-of-the-answer", "group": "global"}]}
    assert "s3cret-of-the-answer" in (await post(ana, "apps/sealed-answer/config/", config, "sealed")).text
    async with api.context.database.session() as session:
        row = (await session.execute(select(IdempotencyRow).where(IdempotencyRow.key == "sealed"))).scalar_one()
    assert (row.caller, row.status) == (f"user:{ana.account.id}", 201)
    assert "s3cret" not in repr(vars(row))


async def test_the_stored_row_helps_nobody_to_guess_the_request(api: Api, ana: Person) -> None:
    await api.create("unguessed")
    config = {"values": [{"name": "PIN", "value": "1234", "group": "global"}]}
    assert (await post(ana, "apps/unguessed/config/", config, "unguessed")).status_code == 201
    async with api.context.database.session() as session:
        query = select(table_of(IdempotencyRow)).where(IdempotencyRow.key == "unguessed")
        row = (await session.execute(query)).one()
    assert row.request_digest is None
    sealed = cast("dict[str, str]", api.context.unit_of_work.cipher.open(row.sealed_answer))
    assert len(base64.b64decode(sealed["request"])) == 32
    config["values"][0]["value"] = "4321"
    assert (await post(ana, "apps/unguessed/config/", config, "unguessed")).status_code == 422


async def test_answers_of_an_older_version_are_repeated(api: Api, ana: Person) -> None:
    first = await post(ana, "apps/", {"id": "older-answer"}, "older")
    cipher = api.context.unit_of_work.cipher
    async with api.context.database.transaction() as session:
        mine = IdempotencyRow.key == "older"
        sealed = await session.scalar(select(IdempotencyRow.sealed_answer).where(mine))
        facts = cast("dict[str, Any]", cipher.open(str(sealed)))
        digest = base64.b64decode(facts.pop("request"))
        old = {"request_digest": digest, "sealed_answer": cipher.seal(facts)}
        await session.execute(update(table_of(IdempotencyRow)).where(mine).values(old))
    again = await post(ana, "apps/", {"id": "older-answer"}, "older")
    assert (again.content, again.headers[REPLAYED]) == (first.content, "true")
    assert (await post(ana, "apps/", {"id": "other"}, "older")).status_code == 422


async def test_bad_bodies_are_refused_with_a_key_as_without(api: Api, ana: Person) -> None:
    headers = {"Idempotency-Key": "bad", "content-type": "application/json"}
    broken = await ana.client.post("/v2/apps/", content=b"{bad", headers=headers)
    assert (broken.status_code, broken.json()["detail"][:18]) == (400, "JSON parse error -")
    large = b'{"id": "' + b"x" * api.settings.max_body_bytes + b'"}'
    assert (await ana.client.post("/v2/apps/", content=large, headers=headers)).status_code == 413
    text_body = await ana.client.post("/v2/apps/", content=b"x", headers={**headers, "content-type": "text/plain"})
    assert text_body.status_code == 415


async def test_what_takes_several_transactions_happens_once_as_well(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, run_worker=False, broker="memory") as api:
        ana = await api.person("ana")
        await api.create("brokered")
        services = (await ana.client.get("/v2/resources/services/")).json()["results"]
        plans = (await ana.client.get(f"/v2/resources/services/{services[0]['name']}/plans/")).json()["results"]
        body = {"name": "store", "plan": f"{services[0]['name']}:{plans[0]['name']}"}
        path = "apps/brokered/resources/"
        first = await post(ana, path, body, "resource")
        again = await post(ana, path, body, "resource")
        assert (first.status_code, again.content, again.headers[REPLAYED]) == (201, first.content, "true")
        assert (await post(ana, path, {**body, "name": "other"}, "resource")).status_code == 422
        assert (await ana.client.get(f"/v2/{path}")).json()["count"] == 1
        claim = Claim(f"user:{ana.account.id}", "busy", b"")
        async with api.context.database.try_lock(claim.lock):
            assert (await post(ana, path, {**body, "name": "other"}, "busy")).status_code == 409


FUNCTION = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$
"""
TRIGGER = """
CREATE CONSTRAINT TRIGGER refuse AFTER INSERT ON apps DEFERRABLE INITIALLY DEFERRED
FOR EACH ROW EXECUTE FUNCTION refuse()
"""


async def test_effect_and_answer_are_stored_together_or_not_at_all(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), run_worker=False) as api:
        ana = await api.person("ana")
        async with api.context.database.transaction() as session:
            for statement in (FUNCTION, TRIGGER):
                await session.execute(text(statement))
        lost = await post(ana, "apps/", {"id": "lost"}, "lost")
        assert lost.status_code == 500
        async with api.context.database.transaction() as session:
            assert (await session.scalars(select(IdempotencyRow))).all() == []
            await session.execute(text("DROP TRIGGER refuse ON apps"))
        again = await post(ana, "apps/", {"id": "lost"}, "lost")
        assert (again.status_code, again.headers.get(REPLAYED)) == (201, None)


async def test_a_key_is_forgotten_after_a_day(make_database: MakeDatabase) -> None:
    clock = FakeClock()
    async with running_api(await make_database("controller"), run_worker=False, clock=clock) as api:
        ana = await api.person("ana")
        first = await post(ana, "apps/", {}, "daily")
        clock.advance(timedelta(hours=23))
        assert (await post(ana, "apps/", {}, "daily")).content == first.content
        clock.advance(timedelta(hours=2))
        second = await post(ana, "apps/", {}, "daily")  # before anything was pruned
        assert second.json()["id"] != first.json()["id"]
        assert (await post(ana, "apps/", {}, "daily")).content == second.content
        clock.advance(timedelta(hours=25))
        pruner = Pruner(
            database=api.context.database,
            clock=clock,
            audit_retention=timedelta(days=365),
            idempotency_retention=api.settings.idempotency_retention,
        )
        await pruner.prune()
        async with api.context.database.session() as session:
            assert (await session.scalars(select(IdempotencyRow))).all() == []
