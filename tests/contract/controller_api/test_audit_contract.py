"""The audit trail: every change leaves one entry with who, what, from where, before and after; nothing secret in it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import select

from controller.schema.base import OUTBOX
from shared.errors import UnavailableError
from shared.events import AuditRecorded, Envelope
from support import eventually
from support.controller_api import BUILDER_KEY, Api, Person, running_api
from support.fixtures import MakeDatabase

SECRET = "s3cret-of-the-tests"
VALUES = [{"name": "TOKEN", "value": SECRET, "group": "global"}]


async def entries(person: Person, app: str, **query: str) -> list[dict[str, Any]]:
    """The entries of an app, oldest first."""
    response = await person.client.get(f"/v2/apps/{app}/audit/", params=query)
    assert response.status_code == 200, response.text
    return list(reversed(response.json()["results"]))


def told(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    """Actor, action, target, before and after of an entry."""
    return tuple(entry[name] for name in ("actor", "action", "target", "before", "after"))


async def test_every_change_of_an_app_leaves_its_entry(api: Api, ana: Person, bo: Person) -> None:
    await api.create("audit-all")
    url = "/v2/apps/audit-all"
    await api.build("audit-all")
    steps: list[tuple[str, str, Any, int]] = [
        ("POST", "config/", {"values": VALUES, "tags": {"web": {"rack": "1"}}}, 201),
        ("POST", "settings/", {"routable": False, "label": {"team": "a"}}, 201),
        ("POST", "ptypes/scale/", {"web": 2, "worker": 1}, 204),
        ("POST", "ptypes/restart/", {"ptypes": "web"}, 204),
        ("POST", "releases/deploy/", {"ptypes": "web", "force": True}, 204),
        ("POST", "releases/rollback/", {"version": 2}, 201),
        ("POST", "perms/", {"username": "bo", "permissions": "view"}, 201),
        ("PUT", "perms/bo/", {"permissions": "change"}, 204),
        ("DELETE", "perms/bo/", None, 204),
    ]
    for method, path, body, status in steps:
        response = await ana.client.request(method, f"{url}/{path}", json=body)
        assert response.status_code == status, (path, response.text)
    found = await entries(ana, "audit-all")
    assert [told(entry) for entry in found if entry["action"] != "build.created"] == [
        ("ana", "app.created", "", None, {"owner": "ana"}),
        (
            *("ana", "config.changed", "v3"),
            {"values": {}, "tags": {}},
            {"values": {"TOKEN (group global)": "***"}, "tags": {"web": {"rack": "1"}}},
        ),
        ("ana", "settings.changed", "", {"routable": True, "label": {}}, {"routable": False, "label": {"team": "a"}}),
        ("ana", "processes.scaled", "", {"web": 1, "worker": 0}, {"web": 2, "worker": 1}),
        ("ana", "processes.restarted", "web", None, None),
        ("ana", "release.deploy_requested", "v3", None, {"ptypes": ["web"], "force": True}),
        ("ana", "release.rolled_back", "v4", {"release": "v3"}, {"release": "v2", "ptypes": ["web", "worker"]}),
        ("ana", "grant.added", "bo", {"permissions": []}, {"permissions": ["view"]}),
        ("ana", "grant.replaced", "bo", {"permissions": ["view"]}, {"permissions": ["change"]}),
        ("ana", "grant.revoked", "bo", {"permissions": ["change"]}, {"permissions": []}),
    ]
    (build,) = (entry for entry in found if entry["action"] == "build.created")
    assert (build["target"], build["after"]["image"]) == ("v2", "workspace/audit-all:1")
    assert SECRET not in str(found)
    for entry in found:
        assert (entry["app"], entry["source"], entry["address"]) == ("audit-all", "api", "192.0.2.7")
        assert entry["request_id"]


async def test_what_changes_nothing_leaves_nothing(api: Api, ana: Person, bo: Person) -> None:
    await api.create("audit-none")
    await api.build("audit-none")
    before = await entries(ana, "audit-none")
    url = "/v2/apps/audit-none"
    for method, path, body in (
        ("POST", "config/", {}),
        ("POST", "settings/", {}),
        ("POST", "ptypes/scale/", {"web": 1}),
        ("POST", "ptypes/scale/", {"nope": 1}),
        ("DELETE", "perms/bo/", None),
        ("POST", "releases/rollback/", {"version": 99}),
    ):
        await ana.client.request(method, f"{url}/{path}", json=body)
    assert await entries(ana, "audit-none") == before


async def test_entries_carry_the_id_of_their_request(api: Api, ana: Person) -> None:
    await ana.client.post("/v2/apps/", json={"id": "audit-id"}, headers={"X-Request-ID": "my-own-id"})
    assert [entry["request_id"] for entry in await entries(ana, "audit-id")] == ["my-own-id"]


async def test_a_push_is_the_pushers_and_the_builders(api: Api, ana: Person) -> None:
    await api.create("audit-push")
    body = {"receive_user": "ana", "receive_repo": "audit-push", "image": "a/b", "stack": "container"}
    hook = await api.anonymous.post("/v2/hooks/build/", json=body, headers={"X-Drycc-Builder-Auth": BUILDER_KEY})
    assert hook.status_code == 200, hook.text
    build = (await entries(ana, "audit-push"))[-1]
    assert (build["actor"], build["action"], build["source"]) == ("ana", "build.created", "builder")


async def test_only_who_is_in_charge_reads_it(api: Api, ana: Person, bo: Person, staff: Person, root: Person) -> None:
    await api.create("audit-who")
    url = "/v2/apps/audit-who/audit/"
    assert (await api.anonymous.get(url)).status_code == 401
    assert (await bo.client.get(url)).status_code == 404
    await api.grant("audit-who", "bo", "view,change,delete")
    for person, status in ((bo, 403), (staff, 403), (ana, 200), (root, 200)):
        assert (await person.client.get(url)).status_code == status, person.name
    for person, status in ((bo, 403), (staff, 403), (ana, 403), (root, 200)):
        assert (await person.client.get("/v2/audit/")).status_code == status, person.name
    assert (await api.anonymous.get("/v2/audit/")).status_code == 401


async def test_filters_and_pages(api: Api, ana: Person, root: Person) -> None:
    await api.create("audit-page")
    for number in range(5):
        await ana.client.post("/v2/apps/audit-page/settings/", json={"label": {"n": f"{number}"}})
    url = "/v2/apps/audit-page/audit/"
    first = (await ana.client.get(url, params={"limit": 2, "action": "settings.changed"})).json()
    assert [entry["after"]["label"]["n"] for entry in first["results"]] == ["4", "3"]
    assert (first["count"], first["next"].startswith("http://drycc.test/v2/apps/audit-page/audit/?")) == (2, True)
    second = (await ana.client.get(first["next"])).json()
    third = (await ana.client.get(second["next"])).json()
    assert [entry["after"]["label"]["n"] for entry in second["results"]] == ["2", "1"]
    assert ([entry["after"]["label"]["n"] for entry in third["results"]], third["next"]) == (["0"], None)
    assert len(await entries(ana, "audit-page", actor="ana")) == 6
    assert await entries(ana, "audit-page", actor="nobody") == []
    every = (await root.client.get("/v2/audit/", params={"app": "audit-page", "limit": "1", "actor": "ana"})).json()
    assert "app=audit-page" in every["next"]
    assert every["results"] == first["results"][:1]


@pytest.mark.parametrize("before", ["x", "", "1"])
async def test_a_bad_place_to_continue_from_is_refused(api: Api, root: Person, before: str) -> None:
    response = await root.client.get("/v2/audit/", params={"before": before})
    assert (response.status_code, response.json()) == (400, {"before": ["Must be a valid UUID."]})


@pytest.mark.parametrize("limit", ["x", "0", "-1", "99999999999999"])
async def test_an_odd_limit_is_the_default_or_the_most(api: Api, root: Person, limit: str) -> None:
    response = await root.client.get("/v2/audit/", params={"limit": limit, "before": str(uuid4())})
    assert response.status_code == 200


async def test_the_trail_outlives_the_app_and_is_none_of_the_next_owners_business(
    api: Api, ana: Person, bo: Person, root: Person
) -> None:
    await api.create("audit-gone")
    assert (await ana.client.delete("/v2/apps/audit-gone/")).status_code == 204

    async def is_free() -> bool:
        return (await bo.client.post("/v2/apps/", json={"id": "audit-gone"})).status_code == 201

    await eventually(is_free)
    assert [entry["action"] for entry in await entries(bo, "audit-gone")] == ["app.created"]
    assert (await ana.client.get("/v2/apps/audit-gone/audit/")).status_code == 404
    every = (await root.client.get("/v2/audit/", params={"app": "audit-gone"})).json()["results"]
    assert [(entry["actor"], entry["action"]) for entry in every] == [
        ("bo", "app.created"),
        ("ana", "app.deleted"),
        ("ana", "app.created"),
    ]


async def test_a_transfer_names_both_owners(api: Api, ana: Person, bo: Person) -> None:
    await api.create("audit-move")
    assert (await ana.client.post("/v2/apps/audit-move/", json={"owner": "bo"})).status_code == 200
    moved = (await entries(bo, "audit-move"))[-1]
    assert told(moved) == ("ana", "app.transferred", "", {"owner": "ana"}, {"owner": "bo"})


async def test_keys_and_tokens_leave_entries_without_an_app(api: Api, root: Person) -> None:
    eve = await api.person("eve")
    public = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEV2ZXMga2V5IG9mIHRoZSBhdWRpdCB0ZXN0cyAhISEh eve"
    assert (await eve.client.post("/v2/keys/", json={"id": "laptop", "public": public})).status_code == 201
    assert (await eve.client.delete("/v2/keys/laptop")).status_code == 204
    token = (await eve.client.get("/v2/tokens/")).json()["results"][0]["uuid"]
    assert (await eve.client.delete(f"/v2/tokens/{token}/")).status_code == 204
    every = (await root.client.get("/v2/audit/", params={"actor": "eve"})).json()["results"]
    assert [(entry["app"], entry["action"], entry["target"]) for entry in reversed(every)] == [
        (None, "token.created", token),
        (None, "key.added", "laptop"),
        (None, "key.deleted", "laptop"),
        (None, "token.deleted", token),
    ]
    assert eve.token not in str(every)


async def test_stopped_instances_and_entered_ones_are_noted(api: Api, ana: Person) -> None:
    await api.create("audit-pods")
    await api.build("audit-pods")
    pods = (await ana.client.get("/v2/apps/audit-pods/pods/")).json()["results"]
    name = pods[0]["name"]
    body = {"pod_ids": f"{name},nothing-of-that-name"}
    assert (await ana.client.request("DELETE", "/v2/apps/audit-pods/pods/", json=body)).status_code == 200
    stopped = [entry["target"] for entry in await entries(ana, "audit-pods", action="instance.stopped")]
    assert stopped == [name]


async def test_only_what_was_stopped_is_noted(api: Api, ana: Person, monkeypatch: pytest.MonkeyPatch) -> None:
    await api.create("audit-stops")
    await api.build("audit-stops")
    assert (await ana.client.post("/v2/apps/audit-stops/ptypes/scale", json={"web": 3})).status_code == 204

    async def names() -> list[str]:
        pods = (await ana.client.get("/v2/apps/audit-stops/pods/")).json()["results"]
        found = [pod["name"] for pod in pods if pod["type"] == "web"]
        return found if len(found) == 3 else []

    first, second, third = await eventually(names)
    stop = api.engine.stop_instance

    async def stop_but_one(app: str, instance: str) -> None:
        if instance == second:
            raise UnavailableError("the engine does not answer")
        await stop(app, instance)

    monkeypatch.setattr(api.engine, "stop_instance", stop_but_one)
    body = {"pod_ids": f"{first},{second},{third}"}
    assert (await ana.client.request("DELETE", "/v2/apps/audit-stops/pods/", json=body)).status_code == 503
    stopped = [entry["target"] for entry in await entries(ana, "audit-stops", action="instance.stopped")]
    assert stopped == [first]


async def test_every_entry_is_published_too(api: Api, ana: Person) -> None:
    await api.create("audit-event")
    await ana.client.post("/v2/apps/audit-event/config/", json={"values": VALUES})
    shown = (await entries(ana, "audit-event"))[-1]
    async with api.context.database.session() as session:
        query = select(OUTBOX.c.envelope).where(OUTBOX.c.subject == "apps/audit-event").order_by(OUTBOX.c.seq)
        rows = await session.scalars(query)
    events = [Envelope.model_validate(row).unwrap() for row in rows]
    assert SECRET not in str(events)
    last = [event for event in events if isinstance(event, AuditRecorded)][-1]
    told_by_event = last.model_dump(mode="json")
    assert told_by_event.pop("entry_id") == shown.pop("uuid")
    shown.pop("at")
    assert told_by_event == shown


async def test_proxies_that_are_trusted_say_who_asks(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, trusted_proxies=["192.0.2.0/24"], run_worker=False) as api:
        ana = await api.person("ana")
        ana.client.headers["X-Forwarded-For"] = "203.0.113.9, 198.51.100.4, 192.0.2.200"
        ana.client.headers["X-Forwarded-Proto"] = "https"
        response = await ana.client.post("/v2/apps/", json={"id": "proxied"})
        assert response.status_code == 201
        assert [entry["address"] for entry in await entries(ana, "proxied")] == ["198.51.100.4"]
        second = await ana.client.post("/v2/apps/", json={"id": "proxied-2"})
        assert second.status_code == 201
        page = (await ana.client.get("/v2/apps/?limit=1")).json()
        assert page["next"].startswith("https://")


async def test_nobody_else_may_claim_an_address(api: Api, ana: Person) -> None:
    headers = {"X-Forwarded-For": "203.0.113.9"}
    await asyncio.gather(
        *(ana.client.post("/v2/apps/", json={"id": f"audit-spoof-{n}"}, headers=headers) for n in range(2))
    )
    for number in range(2):
        assert [entry["address"] for entry in await entries(ana, f"audit-spoof-{number}")] == ["192.0.2.7"]
