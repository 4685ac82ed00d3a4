"""Resources: made, bound, shown, changed, destroyed by a broker; and what a platform without one says."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio
from sqlalchemy import select

from controller.brokers import NO_BROKER, MemoryBroker
from controller.domain.resources import LOST_MESSAGE, BrokerUnavailableError, ResourceState
from controller.schema.audit import AuditRow
from controller.schema.storage import ResourceRow
from controller.services.resources import ManagedResources
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

UNKNOWN = "No Resource matches the given query."
REQUIRED = ["This field is required."]
AWAY = BrokerUnavailableError("the broker does not answer")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(make_module_database: MakeDatabase) -> AsyncIterator[Api]:
    """A controller whose broker is in its own process."""
    async with running_api(await make_module_database("controller"), broker="memory") as api:
        yield api


def broker_of(api: Api) -> MemoryBroker:
    """The broker, to script it."""
    broker = api.context.broker
    assert isinstance(broker, MemoryBroker)
    return broker


async def make(api: Api, app: str, name: str = "base", **facts: Any) -> dict[str, Any]:
    """A resource of a new app."""
    if await is_free(api, app):
        await api.create(app)
    person = await api.person("ana")
    body = {"name": name, "plan": "postgres:standard-10", "options": {}} | facts
    response = await person.client.post(f"/v2/apps/{app}/resources/", json=body)
    assert response.status_code == 201, response.text
    found: dict[str, Any] = response.json()
    return found


async def is_free(api: Api, app: str) -> bool:
    """Whether no app has that name."""
    person = await api.person("ana")
    return (await person.client.get(f"/v2/apps/{app}/")).status_code == 404


async def act(person: Person, app: str, action: object, name: str = "base") -> Any:
    """Bind or unbind; the response."""
    return await person.client.patch(f"/v2/apps/{app}/resources/{name}/binding/", json={"bind_action": action})


async def test_what_is_offered(api: Api, ana: Person) -> None:
    services = (await ana.client.get("/v2/resources/services/?limit=1")).json()
    assert services["count"] == len(services["results"]) == 3
    assert [service["name"] for service in services["results"]] == ["mysql", "postgres", "redis"]
    assert {frozenset(service) for service in services["results"]} == {frozenset(("id", "name", "updateable"))}
    assert services["results"][0]["updateable"] is True
    plans = (await ana.client.get("/v2/resources/services/redis/plans/")).json()["results"]
    assert [(plan["name"], plan["description"]) for plan in plans] == [
        ("standard-128", "128 MiB of memory"),
        ("standard-1024", "1024 MiB of memory"),
    ]
    assert (await ana.client.get("/v2/resources/services/no such/plans/")).json() == {"results": [], "count": 0}
    assert (await api.anonymous.get("/v2/resources/services/")).status_code == 401


async def test_the_whole_life(api: Api, ana: Person) -> None:
    body = await make(api, "res-a", options={"size": 10, "debug": True, "user.name": "x"})
    assert list(body) == [
        "uuid", "app", "owner", "name", "plan", "data", "options", "created", "updated", "status", "binding",
    ]  # fmt: skip
    assert body["options"] == {"size": "10", "debug": "True", "user.name": "x"}
    assert (body["plan"], body["data"], body["status"], body["binding"]) == ("postgres:standard-10", {}, "Ready", None)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["created"])
    url = "/v2/apps/res-a/resources/base/"
    shown = (await ana.client.get(url)).json()
    assert shown == {**body, "message": "postgres:standard-10 is ready"}
    listed = (await ana.client.get("/v2/apps/res-a/resources/")).json()
    assert listed == {"count": 1, "next": None, "previous": None, "results": [body]}

    bound = await act(ana, "res-a", "bind")
    assert (bound.status_code, bound.json()["binding"]) == (200, "Ready")
    data = (await ana.client.get(url)).json()["data"]
    assert {key: data[key] for key in ("HOST", "PORT", "USERNAME")} == {
        "HOST": "base.res-a.invalid",
        "PORT": "5432",
        "USERNAME": "res-a",
    }
    assert data["PASSWORD"]

    changed = await ana.client.put(url, json={"plan": "postgres:standard-50", "options": {"size": "50", "debug": None}})
    assert (changed.status_code, changed.json()["plan"], changed.json()["status"]) == (
        200,
        "postgres:standard-50",
        "Ready",
    )
    assert changed.json()["options"] == {"size": "50", "user.name": "x"}
    assert broker_of(api).options_of(await uuid_of(api, "res-a")) == {"size": "50", "user.name": "x"}

    unbound = await act(ana, "res-a", "unbind")
    assert (unbound.status_code, unbound.json()["binding"], unbound.json()["data"]) == (200, None, {})
    destroyed = await ana.client.delete(url)
    assert (destroyed.status_code, destroyed.content) == (204, b"")
    assert (await ana.client.get(url)).status_code == 404


async def uuid_of(api: Api, app: str) -> Any:
    """The key of the only resource of an app."""
    async with api.context.unit_of_work.reading() as uow:
        found = await uow.session.scalars(select(ResourceRow.uuid).where(ResourceRow.name == "base"))
        person = await api.person("ana")
        wanted = (await person.client.get(f"/v2/apps/{app}/resources/")).json()["results"][0]["uuid"]
        return next(uuid for uuid in found if str(uuid) == wanted)


async def test_values_of_a_file(api: Api, ana: Person) -> None:
    raw = "YTogMQo="
    assert (await make(api, "res-raw", options={"rawValues": raw}))["options"] == {"rawValues": raw}
    body = {"name": "db2", "plan": "postgres:standard-10", "options": {"rawValues": "a: 1"}}
    refused = await ana.client.post("/v2/apps/res-raw/resources/", json=body)
    assert (refused.status_code, refused.json()) == (400, {"options": ["rawValues must be a file in base64"]})


async def test_options_have_an_end(api: Api, ana: Person) -> None:
    """Also when they are sent one by one, and merged."""
    await make(api, "res-long", options={"a": "x" * 600_000})
    url, message = "/v2/apps/res-long/resources/", "Ensure all options have no more than 1048576 characters of JSON."
    body = {"name": "db2", "plan": "postgres:standard-10", "options": {"a": "x" * 1_048_576}}
    refused = await ana.client.post(url, json=body)
    assert (refused.status_code, refused.json()) == (400, {"options": [message]})
    refused = await ana.client.put(f"{url}base/", json={**body, "options": {"b": "x" * 600_000}})
    assert (refused.status_code, refused.json()) == (400, {"options": [message]})
    (shown,) = (await ana.client.get(url)).json()["results"]
    assert list(shown["options"]) == ["a"]


PLAN = "plan must be <service>:<plan>, as `drycc resources plans <service>` lists them"


@pytest.mark.parametrize(
    ("body", "errors"),
    [
        ({}, {"name": REQUIRED, "plan": REQUIRED}),
        ({"name": "d1", "plan": "a:b"}, {"name": ["The length of name must be between 3 and 63"]}),
        ({"name": "D_b", "plan": "a:b"}, {"name": ["Can only contain a-z (lowercase), 0-9 and hyphens"]}),
        ({"name": "db1", "plan": ""}, {"plan": ["This field may not be blank."]}),
        ({"name": "db1", "plan": "postgres"}, {"plan": [PLAN]}),
        ({"name": "db1", "plan": ":"}, {"plan": [PLAN]}),
        ({"name": "db1", "plan": "a:" + "b" * 127}, {"plan": ["Ensure this field has no more than 128 characters."]}),
        ({"name": "db1", "plan": "a:b", "options": ["x"]}, {"options": ["Expected a dictionary, but got list."]}),
        (
            {"name": "db1", "plan": "postgres:none"},
            {"plan": ["the plan postgres:none is not offered, postgres has: standard-10, standard-50"]},
        ),
        ({"name": "db1", "plan": "none:x"}, {"plan": ["the plan none:x is not offered, no service is called none"]}),
    ],
)
async def test_bad_resources(api: Api, ana: Person, body: object, errors: object) -> None:
    if await is_free(api, "res-bad"):
        await api.create("res-bad")
    refused = await ana.client.post("/v2/apps/res-bad/resources/", json=body)
    assert (refused.status_code, refused.json()) == (400, errors)
    assert (await ana.client.get("/v2/apps/res-bad/resources/")).json()["count"] == 0


async def test_a_name_is_taken_once_per_app(api: Api, ana: Person) -> None:
    await make(api, "res-twice")
    body = {"name": "base", "plan": "redis:standard-128"}
    again = await ana.client.post("/v2/apps/res-twice/resources/", json={**body, "name": "db1"})
    assert again.status_code == 201
    again = await ana.client.post("/v2/apps/res-twice/resources/", json={**body, "name": "db1"})
    message = "The fields app, name must make a unique set."
    assert (again.status_code, again.json()) == (400, {"non_field_errors": [message]})


async def test_while_it_is_being_made(api: Api, ana: Person) -> None:
    broker = broker_of(api)
    url = "/v2/apps/res-slow/resources/base/"
    broker.hold()
    try:
        assert (await make(api, "res-slow"))["status"] == "Provisioning"
        for response, text in (
            (await act(ana, "res-slow", "bind"), "the resource instance is not ready"),
            (await ana.client.put(url, json={"plan": "postgres:standard-50"}), "this resource instance is in progress"),
            (await ana.client.delete(url), "the resource instance is provisioning"),
            (await act(ana, "res-slow", "unbind"), "the resource instance is not binding"),
        ):
            assert (response.status_code, response.json()) == (400, {"detail": text})
        broker.let_go()
        assert (await ana.client.get(url)).json()["status"] == "Ready"
        broker.hold()
        assert (await act(ana, "res-slow", "bind")).json()["binding"] == "Binding"
        busy = await act(ana, "res-slow", "bind")
        assert (busy.status_code, busy.json()) == (409, {"detail": "Resource base is binding"})
        refused = await ana.client.delete(url)
        assert (refused.status_code, refused.json()) == (400, {"detail": "the resource instance is still binding"})
        changed = await ana.client.put(url, json={"plan": "postgres:standard-50"})
        assert changed.json()["status"] == "Updating"
    finally:
        broker.let_go()
    shown = (await ana.client.get(url)).json()
    assert (shown["status"], shown["binding"], shown["plan"]) == ("Ready", "Ready", "postgres:standard-50")
    listed = (await ana.client.get("/v2/apps/res-slow/resources/")).json()["results"][0]
    assert {**listed, "message": "postgres:standard-50 is ready"} == shown


async def test_what_is_refused(api: Api, ana: Person) -> None:
    await make(api, "res-no")
    url = "/v2/apps/res-no/resources/base/"
    assert (await act(ana, "res-no", "bind")).status_code == 200
    for response, text in (
        (await act(ana, "res-no", "bind"), "the resource instance is binding"),
        (await ana.client.delete(url), "the resource instance is still binding"),
        (await ana.client.put(url, json={"plan": "redis:standard-128"}), "the resource instance cann't changed"),
        (await ana.client.put(url, json={}), "the resource instance cann't changed"),
    ):
        assert (response.status_code, response.json()) == (400, {"detail": text})
    refused = await ana.client.put(url, json={"plan": "postgres:none"})
    assert list(refused.json()) == ["plan"]
    assert (await act(ana, "res-no", "unbind")).status_code == 200
    refused = await act(ana, "res-no", "unbind")
    assert (refused.status_code, refused.json()) == (400, {"detail": "the resource instance is not binding"})
    for action in ("rebind", None, ["bind"]):
        refused = await act(ana, "res-no", action)
        assert (refused.status_code, refused.json()) == (404, "unknown action")


async def test_missing_ones(api: Api, ana: Person) -> None:
    await api.create("res-none")
    url = "/v2/apps/res-none/resources/base/"
    for response in (
        await ana.client.get(url),
        await ana.client.put(url, json={"plan": "a:b"}),
        await ana.client.delete(url),
        await act(ana, "res-none", "bind"),
        await act(ana, "res-none", "unbind"),
    ):
        assert (response.status_code, response.json()) == (404, UNKNOWN)


async def test_a_broker_that_is_away(api: Api, ana: Person) -> None:
    body = await make(api, "res-away")
    url = "/v2/apps/res-away/resources/base/"
    broker_of(api).go_away(AWAY)
    try:
        shown = await ana.client.get(url)
        assert (shown.status_code, shown.json()) == (200, {**body, "message": AWAY.detail})
        for response in (
            await ana.client.get("/v2/resources/services/"),
            await ana.client.post("/v2/apps/res-away/resources/", json={"name": "db2", "plan": "redis:standard-128"}),
            await ana.client.put(url, json={"plan": "postgres:standard-50"}),
            await ana.client.delete(url),
            await act(ana, "res-away", "bind"),
        ):
            assert (response.status_code, response.json()) == (503, {"detail": AWAY.detail})
    finally:
        broker_of(api).go_away(None)
    assert (await ana.client.get("/v2/apps/res-away/resources/")).json()["results"] == [body]


async def test_a_broker_that_fails_half_way(api: Api, ana: Person) -> None:
    body = await make(api, "res-half")
    url = "/v2/apps/res-half/resources/base/"
    broker_of(api).refuse(AWAY)
    try:
        for response in (
            await ana.client.post("/v2/apps/res-half/resources/", json={"name": "db2", "plan": "redis:standard-128"}),
            await ana.client.put(url, json={"plan": "postgres:standard-50", "options": {"a": "b"}}),
            await act(ana, "res-half", "bind"),
            await ana.client.delete(url),
        ):
            assert (response.status_code, response.json()) == (503, {"detail": AWAY.detail})
    finally:
        broker_of(api).refuse(None)
    page = (await ana.client.get("/v2/apps/res-half/resources/")).json()
    kept = ("name", "plan", "options", "status", "binding")
    assert [{key: item[key] for key in kept} for item in page["results"]] == [{key: body[key] for key in kept}]


async def test_one_that_the_broker_has_lost(api: Api, ana: Person) -> None:
    await make(api, "res-lost")
    assert (await act(ana, "res-lost", "bind")).status_code == 200
    broker_of(api).forget(await uuid_of(api, "res-lost"))
    shown = (await ana.client.get("/v2/apps/res-lost/resources/base/")).json()
    assert (shown["status"], shown["binding"], shown["data"]) == ("ProvisionFailed", None, {})
    assert shown["message"] == LOST_MESSAGE
    assert (await ana.client.delete("/v2/apps/res-lost/resources/base/")).status_code == 204


async def test_binding_twice_at_once_binds_once(api: Api, ana: Person) -> None:
    await make(api, "res-race")
    responses = await asyncio.gather(*(act(ana, "res-race", "bind") for _ in range(5)))
    statuses = sorted(response.status_code for response in responses)
    assert statuses[0] == 200
    assert set(statuses) <= {200, 400, 409}
    assert statuses.count(200) == 1
    assert (await ana.client.get("/v2/apps/res-race/resources/base/")).json()["binding"] == "Ready"


class SlowBroker(MemoryBroker):
    """One whose answers can be held back on their way."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go_on = asyncio.Event(), asyncio.Event()
        self.slow = ""

    async def observe(self, uuid: UUID) -> ResourceState | None:
        """Looks at once, tells later."""
        state = await super().observe(uuid)
        await self._wait("observe")
        return state

    async def bind(self, uuid: UUID) -> ResourceState:
        """Is refused later."""
        await self._wait("bind")
        return await super().bind(uuid)

    async def _wait(self, call: str) -> None:
        if self.slow == call:
            self.slow = ""
            self.asked.set()
            await self.go_on.wait()


async def slow_resource(api: Api, app: str) -> tuple[SlowBroker, ManagedResources]:
    """A resource called base of a new app, and the broker that has it."""
    await api.create(app)
    broker = SlowBroker()
    managed = ManagedResources(api.context.unit_of_work, broker)
    actor = (await api.person("ana")).account
    await managed.create(app, {"name": "base", "plan": "postgres:standard-10"}, actor=actor)
    return broker, managed


async def test_what_fails_takes_back_only_what_it_had_begun(api: Api, ana: Person) -> None:
    """A refused command put back the plan that the resource had had when it came."""
    broker, managed = await slow_resource(api, "res-undo")
    broker.slow = "bind"
    binding = asyncio.create_task(managed.bind("res-undo", "base", actor=ana.account))
    await broker.asked.wait()
    changed = await managed.update("res-undo", "base", {"plan": "postgres:standard-50"}, actor=ana.account)
    assert (changed.plan, changed.status) == ("postgres:standard-50", "Ready")
    broker.refuse(AWAY)
    broker.go_on.set()
    with pytest.raises(BrokerUnavailableError):
        await binding
    (shown,) = (await ana.client.get("/v2/apps/res-undo/resources/")).json()["results"]
    assert (shown["plan"], shown["status"], shown["binding"]) == ("postgres:standard-50", "Ready", None)


async def test_a_look_does_not_undo_what_came_after_it(api: Api, ana: Person) -> None:
    """What connected to a resource was back after it had been unbound."""
    broker, managed = await slow_resource(api, "res-look")
    broker.hold()
    await managed.bind("res-look", "base", actor=ana.account)
    broker.let_go()
    broker.slow = "observe"
    looking = asyncio.create_task(managed.look("res-look", "base"))
    await broker.asked.wait()
    assert (await managed.unbind("res-look", "base", actor=ana.account)).binding is None
    broker.go_on.set()
    seen, _ = await looking
    assert (seen.status, seen.binding, seen.data) == ("Ready", None, {})
    (shown,) = (await ana.client.get("/v2/apps/res-look/resources/")).json()["results"]
    assert (shown["status"], shown["binding"], shown["data"]) == ("Ready", None, {})


async def test_passwords_are_sealed_and_stay_out_of_the_trail(api: Api, ana: Person) -> None:
    await make(api, "res-seal", options={"password": "very-secret"})
    await act(ana, "res-seal", "bind")
    password = (await ana.client.get("/v2/apps/res-seal/resources/base/")).json()["data"]["PASSWORD"]
    await act(ana, "res-seal", "unbind")
    await act(ana, "res-seal", "bind")
    async with api.context.database.session() as session:
        rows = (await session.scalars(select(ResourceRow))).all()
        query = select(AuditRow).where(AuditRow.app == "res-seal", AuditRow.action.startswith("resource."))
        trail = (await session.scalars(query.order_by(AuditRow.uuid))).all()
    stored = repr([(row.sealed_data, row.sealed_options) for row in rows])
    told = repr([(entry.before, entry.after) for entry in trail])
    assert not any(secret in stored + told for secret in ("very-secret", password))
    assert [entry.action for entry in trail] == [
        "resource.created", "resource.bound", "resource.unbound", "resource.bound",
    ]  # fmt: skip
    assert (trail[0].actor, trail[0].target, trail[0].after) == (
        "ana", "base", {"plan": "postgres:standard-10", "binding": None},
    )  # fmt: skip


async def test_the_app_rule_applies_to_each_of_them(api: Api, ana: Person, bo: Person) -> None:
    await make(api, "res-mine")
    url = "/v2/apps/res-mine/resources/base/"
    for response in (
        await bo.client.get(url),
        await bo.client.put(url, json={"plan": "postgres:standard-50"}),
        await bo.client.delete(url),
        await act(bo, "res-mine", "bind"),
    ):
        assert (response.status_code, response.json()) == (404, "No App matches the given query.")
    viewer = await api.grant("res-mine", "res-viewer", "view")
    assert (await viewer.client.get(url)).status_code == 200
    for response in (
        await viewer.client.put(url, json={"plan": "postgres:standard-50"}),
        await viewer.client.delete(url),
        await act(viewer, "res-mine", "bind"),
    ):
        assert response.status_code == 403


async def test_resources_go_with_their_app(api: Api, ana: Person) -> None:
    await make(api, "res-app")
    await act(ana, "res-app", "bind")
    uuid = await uuid_of(api, "res-app")
    assert (await ana.client.delete("/v2/apps/res-app/")).status_code == 204

    async def is_gone() -> bool:
        return await broker_of(api).observe(uuid) is None

    await eventually(is_gone)


async def test_a_new_owner_owns_the_resources(api: Api, ana: Person, bo: Person) -> None:
    await make(api, "res-moved")
    assert (await ana.client.post("/v2/apps/res-moved/", json={"owner": bo.name})).status_code == 200
    assert (await bo.client.get("/v2/apps/res-moved/resources/base/")).json()["owner"] == "bo"


async def test_a_platform_without_a_broker(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller")) as api:
        await api.create("shop")
        ana = await api.person("ana")
        url = "/v2/apps/shop/resources/"
        assert (await ana.client.get(url)).json() == {"count": 0, "next": None, "previous": None, "results": []}
        assert (await ana.client.post(url, json={})).json() == {"name": REQUIRED, "plan": REQUIRED}
        for response in (
            await ana.client.get("/v2/resources/services/"),
            await ana.client.get("/v2/resources/services/redis/plans/"),
            await ana.client.post(url, json={"name": "db1", "plan": "redis:standard-128"}),
        ):
            assert (response.status_code, response.json()) == (503, {"detail": NO_BROKER})
        for response in (await ana.client.get(f"{url}db1/"), await ana.client.delete(f"{url}db1/")):
            assert (response.status_code, response.json()) == (404, UNKNOWN)


async def test_what_is_left_of_an_earlier_broker(make_database: MakeDatabase) -> None:
    database = await make_database("controller")
    keys = ["ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY="]
    async with running_api(database, broker="memory", encryption_keys=keys) as api:
        await make(api, "shop")
        token = (await api.person("ana")).token
    async with running_api(database, encryption_keys=keys) as api, api.client(authorization=f"token {token}") as ana:
        url = "/v2/apps/shop/resources/base/"
        shown = (await ana.get(url)).json()
        assert (shown["status"], shown["message"]) == ("ProvisionFailed", LOST_MESSAGE)
        refused = await ana.patch(f"{url}binding/", json={"bind_action": "bind"})
        assert (refused.status_code, refused.json()) == (400, {"detail": "the resource instance is not ready"})
        assert (await ana.delete(url)).status_code == 204
