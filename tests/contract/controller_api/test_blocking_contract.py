"""The billing manager: blocked apps and users, and owners whose account it says is not active."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI, Request
from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from controller.domain.builds import check_build
from controller.schema.apps import AppRow, RolloutRow
from controller.schema.base import OUTBOX
from controller.services.builds import Builds
from controller.services.processes import Processes
from shared.events import BuildSucceeded, Envelope, ReleaseRejected
from shared.settings import ServiceSettings, load_settings
from shared.web import serving
from support import FakeClock, eventually
from support.controller_api import BUILDER_KEY, Api, Person, running_api
from support.fixtures import MakeDatabase
from support.stand_in_manager import running_manager

ACCESS, SECRET = "the-access-key", "the-secret-key-of-the-manager"
CREDENTIAL = base64.b85encode(f"{ACCESS}:{SECRET}".encode()).decode()
KEYS: dict[str, Any] = {"manager_access_key": ACCESS, "manager_secret_key": SECRET}
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
HOOK = {"X-Drycc-Builder-Auth": BUILDER_KEY}


@pytest.mark.parametrize("path", ["config", "build"])
async def test_a_push_with_a_key_needs_one_connection(make_database: MakeDatabase, path: str) -> None:
    url = await make_database("controller")
    async with running_manager() as manager:
        facts: dict[str, Any] = {"manager_url": manager.url, "run_worker": False, "database_pool_size": 1}
        async with running_api(url, **facts, **KEYS) as api:
            await api.create("pushed")
            body = {"receive_user": "ana", "receive_repo": "pushed", "image": "a/b", "stack": "container"}
            headers = {**HOOK, "Idempotency-Key": "once"}
            pushed = await api.anonymous.post(f"/v2/hooks/{path}/", json=body, headers=headers)
            assert pushed.status_code == 200, pushed.text


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(make_module_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller that a manager may call, but that asks none."""
    async with running_api(await make_module_database("controller"), **KEYS) as api:
        yield api


@pytest_asyncio.fixture(loop_scope="session")
async def manager(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """The manager."""
    async with api.client(authorization=f"token {CREDENTIAL}") as client:
        yield client


async def test_a_blocked_app_is_closed_to_everybody(
    api: Api, manager: httpx.AsyncClient, ana: Person, root: Person, bo: Person
) -> None:
    await api.create("owed")
    await api.build("owed")
    assert (await api.engine.observe("owed")).instances
    await api.grant("owed", "cleo", "view,change,delete")
    cleo = await api.person("cleo")
    blocked = await manager.post("/v2/manager/apps/owed/block/", json={"remark": "unpaid since May"})
    assert (blocked.status_code, blocked.content) == (201, b"")
    for person in (ana, root, cleo):
        for method, path in (("GET", ""), ("GET", "config/"), ("POST", "config/"), ("DELETE", ""), ("GET", "pods/")):
            response = await person.client.request(method, f"/v2/apps/owed/{path}", json={})
            assert (response.status_code, response.json()) == (403, FORBIDDEN), (person.name, path)
    assert (await bo.client.get("/v2/apps/owed/")).status_code == 404  # none of a stranger's business

    async def is_stopped() -> bool:
        return not (await api.engine.observe("owed")).instances

    await eventually(is_stopped)
    assert any(app["id"] == "owed" for app in (await ana.client.get("/v2/apps/")).json()["results"])
    assert (await ana.client.get("/v2/apps/owed/perms/")).status_code == 200
    assert (await ana.client.get("/v2/apps/owed/audit/")).status_code == 200
    assert (await ana.client.get("/v2/keys/")).status_code == 200
    for path in ("config", "build"):
        body = {"receive_user": "ana", "receive_repo": "owed", "image": "a/b", "stack": "container"}
        hook = await api.anonymous.post(f"/v2/hooks/{path}/", json=body, headers=HOOK)
        assert (hook.status_code, hook.json()) == (403, "unpaid since May")
    keys = await api.anonymous.get("/v2/hooks/keys/owed/ana/", headers=HOOK)
    assert (keys.status_code, keys.json()) == (403, "unpaid since May")


async def test_unblocked_it_is_open_and_stays_scaled_down(api: Api, manager: httpx.AsyncClient, ana: Person) -> None:
    await api.create("paid")
    await api.build("paid")
    await manager.post("/v2/manager/apps/paid/block/")
    lifted = await manager.delete("/v2/manager/apps/paid/unblock/")
    assert (lifted.status_code, lifted.content) == (204, b"")
    assert (await ana.client.get("/v2/apps/paid/")).json()["structure"] == {"web": 0, "worker": 0}
    assert (await ana.client.post("/v2/apps/paid/ptypes/scale/", json={"web": 1})).status_code == 204


async def test_repeated_requests_change_nothing_and_the_first_remark_stays(
    api: Api, manager: httpx.AsyncClient, ana: Person
) -> None:
    await api.create("twice")
    for remark in ("first", "second"):
        response = await manager.post("/v2/manager/apps/twice/block/", json={"remark": remark})
        assert response.status_code == 201
    body = {"receive_user": "ana", "receive_repo": "twice"}
    assert (await api.anonymous.post("/v2/hooks/config/", json=body, headers=HOOK)).json() == "first"
    for _ in range(2):
        assert (await manager.delete("/v2/manager/apps/twice/unblock/")).status_code == 204
    trail = (await ana.client.get("/v2/apps/twice/audit/")).json()["results"]
    assert [(entry["actor"], entry["action"], entry["source"]) for entry in trail[:2]] == [
        ("manager", "app.unblocked", "manager"),
        ("manager", "app.blocked", "manager"),
    ]
    assert trail[1]["after"] == {"remark": "first", "stopped": []}


async def test_without_a_remark_there_is_a_default(api: Api, manager: httpx.AsyncClient, ana: Person) -> None:
    await api.create("silent")
    await manager.post("/v2/manager/apps/silent/block/", json={"remark": None})
    body = {"receive_user": "ana", "receive_repo": "silent"}
    hook = await api.anonymous.post("/v2/hooks/config/", json=body, headers=HOOK)
    assert hook.json() == "Blocked for unknown reason"


async def test_a_blocked_user_loses_all_apps_and_nothing_else(
    api: Api, manager: httpx.AsyncClient, root: Person
) -> None:
    dora = await api.person("dora")
    for name in ("dora-1", "dora-2"):
        await api.create(name, "dora")
        await api.build(name, "dora")
    await api.create("of-ana")
    await api.grant("of-ana", "dora", "view")
    url = f"/v2/manager/users/{dora.account.id}"
    assert (await manager.post(f"{url}/block/", json={"remark": "closed"})).status_code == 201
    for name in ("dora-1", "dora-2"):
        assert (await dora.client.get(f"/v2/apps/{name}/")).status_code == 403
        assert (await root.client.get(f"/v2/apps/{name}/")).status_code == 403
    assert (await dora.client.get("/v2/apps/of-ana/")).status_code == 200
    assert (await dora.client.get("/v2/auth/whoami/")).status_code == 200
    every = (await root.client.get("/v2/audit/", params={"action": "user.blocked"})).json()["results"]
    assert [(entry["app"], entry["target"], entry["after"]["stopped"]) for entry in every] == [
        (None, str(dora.account.id), ["dora-1", "dora-2"])
    ]
    for name in ("dora-1", "dora-2"):  # each app's own trail tells what became of it
        of_app = (await root.client.get("/v2/audit/", params={"app": name, "action": "app.stopped"})).json()["results"]
        assert [(entry["actor"], entry["app"], entry["after"]) for entry in of_app] == [
            ("manager", name, {"remark": "closed"})
        ]
    assert (await manager.delete(f"{url}/unblock/")).status_code == 204
    for name in ("dora-1", "dora-2"):
        assert (await dora.client.get(f"/v2/apps/{name}/")).json()["structure"] == {"web": 0, "worker": 0}


async def test_a_change_that_was_let_in_before_the_block_starts_nothing(
    api: Api, manager: httpx.AsyncClient, ana: Person
) -> None:
    await api.create("let-in")
    await api.build("let-in")
    await manager.post("/v2/manager/apps/let-in/block/")
    async with api.context.unit_of_work() as uow:  # as a request does that was authorised just before
        await Processes(uow).scale("let-in", {"web": 2, "worker": 1}, actor=ana.account)
    generation = await told(api, "let-in")
    assert not (await api.engine.observe("let-in")).instances
    await manager.delete("/v2/manager/apps/let-in/unblock/")
    assert await told(api, "let-in") > generation

    async def runs_what_was_accepted() -> bool:
        return len((await api.engine.observe("let-in")).instances) == 3

    await eventually(runs_what_was_accepted)


async def test_the_first_release_of_an_app_that_is_blocked_meanwhile_starts_nothing(
    api: Api, manager: httpx.AsyncClient
) -> None:
    await api.create("too-soon")
    await manager.post("/v2/manager/apps/too-soon/block/")
    ana = await api.person("ana")
    async with api.context.unit_of_work() as uow:
        request = check_build({"image": "a/b", "stack": "container", "procfile": {"web": "x"}})
        await Builds(uow).create("too-soon", request, actor=ana.account)
    await told(api, "too-soon")
    assert not (await api.engine.observe("too-soon")).instances


async def test_one_off_commands_of_what_is_blocked_are_stopped(api: Api, manager: httpx.AsyncClient) -> None:
    eva = await api.person("eva")
    await api.create("one-offs", "eva")
    await api.build("one-offs", "eva")
    api.engine.script_jobs(None)
    job = (await eva.client.post("/v2/apps/one-offs/jobs/", json={"command": "mine"})).json()

    async def runs() -> bool:
        state = await api.engine.job("one-offs", job["name"])
        return state is not None and state.state == "up"

    await eventually(runs)
    api.engine.script_jobs(0)
    url = f"/v2/manager/users/{eva.account.id}"
    await manager.post(f"{url}/block/")

    async def is_stopped() -> bool:
        state = await api.engine.job("one-offs", job["name"])
        return state is not None and state.finished

    await eventually(is_stopped)
    await manager.delete(f"{url}/unblock/")

    async def is_told() -> bool:
        found = (await eva.client.get(f"/v2/apps/one-offs/jobs/{job['name']}")).json()
        return (found["state"], found["reason"]) == ("crashed", "stopped")

    await eventually(is_told)


async def told(api: Api, app: str) -> int:
    """The generation of the app, when the engine was told it and no rollout is under way."""
    generation = 0

    async def is_told() -> bool:
        nonlocal generation
        async with api.context.database.session() as session:
            row = (await session.execute(select(AppRow).where(AppRow.name == app))).scalar_one()
            rollout = await session.scalar(
                select(RolloutRow.uuid).where(RolloutRow.app_uuid == row.uuid, RolloutRow.finished_at.is_(None))
            )
        generation = row.generation
        return row.generation == row.reconciled_generation and rollout is None

    await eventually(is_told)
    return generation


async def test_a_push_that_ends_after_the_block_is_rejected_with_the_remark(
    api: Api, manager: httpx.AsyncClient
) -> None:
    await api.create("late-push")
    await manager.post("/v2/manager/apps/late-push/block/", json={"remark": "unpaid"})
    facts = {"sha": "abc1234", "branch": "main", "image": "a/b", "stack": "python", "actor": "ana", "number": 1}
    event = BuildSucceeded.model_validate({"app": "late-push", "build_id": uuid4(), **facts})
    await api.bus.publish(Envelope.wrap(event, source="/services/builder"))
    async with api.context.database.session() as session:
        rows = await session.scalars(select(OUTBOX.c.envelope).where(OUTBOX.c.routing_key == "release.rejected"))
    (rejected,) = (Envelope.model_validate(row).unwrap() for row in rows)
    assert isinstance(rejected, ReleaseRejected)
    assert (rejected.app, rejected.code, rejected.message) == ("late-push", "blocked", "unpaid")


@pytest.mark.parametrize(
    "authorization",
    [
        None,
        f"token {base64.b85encode(b'the-access-key:wrong').decode()}",
        f"token {base64.b85encode(b'no-colon').decode()}",
        "token not base85 at all",
        "token ~~~",
        "token \xff\xfe",
        "token",
        CREDENTIAL,
    ],
)
async def test_who_is_not_the_manager_is_refused(api: Api, authorization: str | None) -> None:
    headers = {} if authorization is None else {b"Authorization": authorization.encode("latin-1")}
    request = api.anonymous.build_request("POST", "/v2/manager/apps/any/block/", headers=headers)
    response = await api.anonymous.send(request)
    assert (response.status_code, response.json()) == (403, FORBIDDEN)


async def test_any_scheme_will_do(api: Api) -> None:
    headers = {"Authorization": f"Bearer {CREDENTIAL}"}
    assert (await api.anonymous.delete("/v2/manager/apps/any/unblock/", headers=headers)).status_code == 204


async def test_people_are_no_managers(api: Api, root: Person) -> None:
    assert (await root.client.post("/v2/manager/apps/any/block/")).status_code == 403


@pytest.mark.parametrize(
    ("path", "body", "answer"),
    [
        ("foo/1/block", {}, {"detail": "Unsupported block type: foo"}),
        ("users/ana/block", {}, {"detail": "users are blocked by their number, which ana is not"}),
        ("users/99999999999999999999/block", {}, None),
        ("apps/any/block", {"remark": []}, {"remark": ["Not a valid string."]}),
        (
            *("apps/any/block", {"remark": "x" * 1025}),
            {"remark": ["Ensure this field has no more than 1024 characters."]},
        ),
    ],
)
async def test_requests_that_make_no_sense(manager: httpx.AsyncClient, path: str, body: Any, answer: Any) -> None:
    response = await manager.post(f"/v2/manager/{path}/", json=body)
    assert response.status_code == 400
    assert answer is None or response.json() == answer


async def test_an_unknown_kind_cannot_be_unblocked_either(manager: httpx.AsyncClient) -> None:
    response = await manager.delete("/v2/manager/foo/1/unblock/")
    assert (response.status_code, response.json()) == (400, {"detail": "Unsupported block type: foo"})


async def test_without_keys_nobody_is_the_manager(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), run_worker=False) as api:
        empty = {"Authorization": f"token {base64.b85encode(b':').decode()}"}
        assert (await api.anonymous.post("/v2/manager/apps/any/block/", headers=empty)).status_code == 403


# --- owners whom the manager is asked about ---


@dataclass
class StandIn:
    """A manager that answers as it is told, over HTTP."""

    answers: dict[int, Response | tuple[bool, str]] = field(default_factory=dict)
    asked: list[tuple[int, str]] = field(default_factory=list)

    def app(self) -> FastAPI:
        """Its application."""
        app = FastAPI()
        app.state.service, app.state.server_options = "manager", {}

        @app.get("/base/users/{user_id}/status/")
        async def status(user_id: int, request: Request) -> Response:
            self.asked.append((user_id, request.headers["authorization"]))
            answer = self.answers.get(user_id, (True, ""))
            if isinstance(answer, Response):
                return answer
            return JSONResponse({"is_active": answer[0], "message": answer[1]})

        return app


@dataclass
class Asking:
    """A controller that asks a manager."""

    api: Api
    manager: StandIn
    clock: FakeClock


@pytest_asyncio.fixture(loop_scope="session")
async def asking(make_database: MakeDatabase) -> AsyncIterator[Asking]:
    """A controller on a clock that stands still, and the manager that it asks."""
    manager, clock = StandIn(), FakeClock()
    settings = load_settings(ServiceSettings, bind_port=0)
    async with serving(manager.app(), settings) as address:
        url = await make_database("controller")
        base = f"{address.base_url}/base/"
        async with running_api(url, clock=clock, run_worker=False, manager_url=base, **KEYS) as api:
            await api.create("shop")
            manager.asked.clear()
            yield Asking(api, manager, clock)


async def test_an_inactive_owner_is_refused_everywhere(asking: Asking) -> None:
    ana, root = await asking.api.person("ana"), await asking.api.person("root", is_superuser=True)
    asking.manager.answers[ana.account.id] = (False, "your contract has ended")
    for person in (ana, root):
        response = await person.client.get("/v2/apps/shop/config/")
        assert (response.status_code, response.json()) == (403, FORBIDDEN)
    problem = await ana.client.get("/v2/apps/shop/", headers={"accept": "application/problem+json"})
    assert (problem.json()["code"], problem.json()["detail"]) == ("blocked", "your contract has ended")
    assert (await ana.client.get("/v2/apps/shop/perms/")).status_code == 200
    assert asking.manager.asked == [(ana.account.id, f"token {CREDENTIAL}")]  # once in half an hour
    asking.manager.answers.clear()
    asking.clock.advance(timedelta(seconds=1799))
    assert (await ana.client.get("/v2/apps/shop/")).status_code == 403
    asking.clock.advance(timedelta(seconds=2))
    assert (await ana.client.get("/v2/apps/shop/")).status_code == 200


@pytest.mark.parametrize("path", ["config", "build"])
async def test_builders_are_told_what_the_manager_says(asking: Asking, path: str) -> None:
    ana = await asking.api.person("ana")
    asking.manager.answers[ana.account.id] = (False, "your contract has ended")
    body = {"receive_user": "ana", "receive_repo": "shop", "image": "a/b", "stack": "container"}
    hook = await asking.api.anonymous.post(f"/v2/hooks/{path}/", json=body, headers=HOOK)
    assert (hook.status_code, hook.json()) == (403, "your contract has ended")


@pytest.mark.parametrize(
    "answer",
    [Response(status_code=500), JSONResponse({"detail": "?"}), JSONResponse([]), Response("no json"), Response("")],
)
async def test_a_manager_that_does_not_answer_stops_nobody(asking: Asking, answer: Response) -> None:
    ana = await asking.api.person("ana")
    asking.manager.answers[ana.account.id] = answer
    for _ in range(3):
        assert (await ana.client.get("/v2/apps/shop/")).status_code == 200
    assert len(asking.manager.asked) == 1
    asking.manager.answers[ana.account.id] = (False, "")
    asking.clock.advance(timedelta(seconds=61))
    assert (await ana.client.get("/v2/apps/shop/")).status_code == 403
    asking.manager.answers[ana.account.id] = answer
    asking.clock.advance(timedelta(seconds=1801))
    assert (await ana.client.get("/v2/apps/shop/")).status_code == 403  # what it said last


async def test_a_manager_that_is_gone_stops_nobody(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, run_worker=False, manager_url="http://127.0.0.1:9", **KEYS) as api:
        await api.create("shop")
        ana = await api.person("ana")
        assert (await ana.client.get("/v2/apps/shop/")).status_code == 200


async def test_requests_with_a_key_need_no_second_connection_to_know_the_owner(asking: Asking) -> None:
    ana = await asking.api.person("ana")

    async def post(number: int) -> int:
        body, headers = {"label": {"a": str(number)}}, {"Idempotency-Key": f"key-{number}"}
        return (await ana.client.post("/v2/apps/shop/settings/", json=body, headers=headers)).status_code

    # More than the pool has connections: were each to wait for another one, none would ever be given back.
    assert await asyncio.gather(*map(post, range(24))) == [201] * 24


async def test_nobody_is_asked_about_for_strangers_and_missing_apps(asking: Asking) -> None:
    ana = await asking.api.person("ana")
    assert (await asking.api.anonymous.get("/v2/apps/shop/")).status_code == 401
    assert (await ana.client.get("/v2/apps/nowhere/")).status_code == 404
    assert asking.manager.asked == []
