"""Apps, one-offs, grants, and who may do what."""

from __future__ import annotations

import re

import pytest

from support import eventually
from support.controller_api import Api, Person

NAME = (
    "App name must start with an alphabetic character, cannot end with a hyphen and can only contain a-z "
    "(lowercase), 0-9 and hyphens."
)
SLUG = 'Enter a valid "slug" consisting of letters, numbers, underscores or hyphens.'
FORBIDDEN = {"detail": "You do not have permission to perform this action."}
NO_APP = "No App matches the given query."
PERMISSIONS = "The permissions field is required and has a value range of: view,change,delete"


async def test_create_and_get(ana: Person) -> None:
    created = await ana.client.post("/v2/apps/", json={"id": "sunny", "structure": {"web": 9}})
    assert created.status_code == 201
    body = created.json()
    assert set(body) == {"uuid", "id", "owner", "structure", "created", "updated"}
    assert (body["id"], body["owner"], body["structure"]) == ("sunny", "ana", {})
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", body["created"])
    assert (await ana.client.get("/v2/apps/sunny/")).json() == body


async def test_generated_name(ana: Person) -> None:
    for content in (b"", b'{"id": null}', b"{}"):
        response = await ana.client.post("/v2/apps/", content=content, headers={"content-type": "application/json"})
        assert re.fullmatch(r"[a-z]{6}-[a-z]{8}", response.json()["id"])


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("", ["This field may not be blank."]),
        ("a" * 64, ["Ensure this field has no more than 63 characters."]),
        ("Foo", [NAME]),
        ("a_b", [NAME]),
        ("1abc", [NAME]),
        ("abc-", [NAME]),
        (5, [NAME]),
        ("a b", [NAME, SLUG]),
        ("drycc", ["drycc is a reserved name."]),
    ],
)
async def test_bad_names(ana: Person, name: object, messages: list[str]) -> None:
    response = await ana.client.post("/v2/apps/", json={"id": name})
    assert (response.status_code, response.json()) == (400, {"id": messages})


async def test_taken_name(api: Api, ana: Person, bo: Person) -> None:
    await api.create("taken")
    response = await bo.client.post("/v2/apps/", json={"id": "taken"})
    assert (response.status_code, response.json()) == (400, {"id": ["Application with this id already exists."]})


async def test_lists(api: Api, root: Person) -> None:
    dee = await api.person("dee")
    for name in ("lists-a", "lists-b", "lists-c"):
        await api.create(name, "dee")
    page = (await dee.client.get("/v2/apps/?limit=2&search=LISTS")).json()
    assert [app["id"] for app in page["results"]] == ["lists-a", "lists-b"]
    assert (page["count"], page["previous"]) == (3, None)
    assert page["next"] == "http://drycc.test/v2/apps/?limit=2&offset=2&search=LISTS"
    rest = (await dee.client.get("/v2/apps/?limit=2&offset=2")).json()
    assert [app["id"] for app in rest["results"]] == ["lists-c"]
    assert (rest["next"], rest["previous"]) == (None, "http://drycc.test/v2/apps/?limit=2")
    for query in ("limit=0", "limit=-1", "limit=abc", "limit=" + "9" * 40, "offset=-3"):
        assert (await dee.client.get(f"/v2/apps/?{query}")).json()["count"] == 3
    everything = (await root.client.get("/v2/apps/?limit=1000")).json()
    assert {"lists-a", "lists-b", "lists-c"} <= {app["id"] for app in everything["results"]}
    odd = await dee.client.get("/v2/apps/?search=%00%25_")
    assert (odd.status_code, odd.json()["count"]) == (200, 0)


async def test_apps_of_others_do_not_exist(api: Api, bo: Person) -> None:
    await api.create("hidden")
    for method, path in (
        ("GET", ""),
        ("POST", ""),
        ("DELETE", ""),
        ("POST", "/run"),
        ("GET", "/config/"),
        ("POST", "/config/"),
        ("GET", "/build/"),
        ("GET", "/releases/"),
        ("GET", "/releases/v1/"),
        ("GET", "/pods/"),
        ("GET", "/ptypes/"),
        ("GET", "/events/"),
        ("GET", "/settings/"),
        ("GET", "/perms/"),
        ("POST", "/ptypes/scale/"),
    ):
        for app in ("hidden", "nowhere"):
            response = await bo.client.request(method, f"/v2/apps/{app}{path}", json={})
            assert (response.status_code, response.json()) == (404, NO_APP), (method, path)


async def test_grants_open_what_they_name(api: Api, ana: Person, bo: Person) -> None:
    await api.create("shared")
    await api.grant("shared", "bo", "view")
    assert (await bo.client.get("/v2/apps/shared/")).status_code == 200
    assert "shared" in [app["id"] for app in (await bo.client.get("/v2/apps/")).json()["results"]]
    change = {"values": [{"name": "A", "value": "1", "group": "global"}]}
    refused = await bo.client.post("/v2/apps/shared/config/", json=change)
    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)
    await api.grant("shared", "bo", "change")
    assert (await bo.client.post("/v2/apps/shared/config/", json=change)).status_code == 201
    assert (await bo.client.delete("/v2/apps/shared/")).status_code == 403
    assert (await bo.client.get("/v2/apps/shared/perms/")).status_code == 403
    await api.grant("shared", "bo", "delete")
    assert (await bo.client.delete("/v2/apps/shared/")).status_code == 204


async def test_perms(api: Api, ana: Person, bo: Person) -> None:
    await api.create("perms")
    await api.grant("perms", "bo", "view,change")
    listed = (await ana.client.get("/v2/apps/perms/perms/?limit=-1")).json()
    assert listed == {
        "results": [{"app": "perms", "username": "bo", "permissions": ["change", "view"]}],
        "count": 1,
    }
    replaced = await ana.client.put("/v2/apps/perms/perms/bo/", json={"permissions": "delete"})
    assert (replaced.status_code, replaced.content) == (204, b"")
    assert (await ana.client.get("/v2/apps/perms/perms/")).json()["results"][0]["permissions"] == ["delete"]
    for _ in range(2):
        assert (await ana.client.delete("/v2/apps/perms/perms/bo/")).status_code == 204
    assert (await ana.client.get("/v2/apps/perms/perms/")).json() == {"results": [], "count": 0}


@pytest.mark.parametrize("permissions", [None, "", "view, change", "all", ["view"]])
async def test_bad_permissions(api: Api, ana: Person, permissions: object) -> None:
    app = await api.create("bad-permissions") if permissions is None else "bad-permissions"
    for method, path, extra in (("POST", "", {"username": "ana"}), ("PUT", "ana/", {})):
        body = {**extra, "permissions": permissions}
        response = await ana.client.request(method, f"/v2/apps/{app}/perms/{path}", json=body)
        assert (response.status_code, response.json()) == (400, PERMISSIONS)


async def test_perms_for_nobody(api: Api, ana: Person, staff: Person) -> None:
    await api.create("perms-nobody")
    response = await ana.client.post("/v2/apps/perms-nobody/perms/", json={"username": "zoe", "permissions": "view"})
    assert (response.status_code, response.json()) == (404, "No User matches the given query.")
    refused = await staff.client.get("/v2/apps/perms-nobody/perms/")
    assert (refused.status_code, refused.json()) == (403, FORBIDDEN)


async def test_transfer(api: Api, ana: Person, bo: Person, staff: Person) -> None:
    await api.create("gift")
    unknown = await ana.client.post("/v2/apps/gift/", json={"owner": "zoe"})
    assert (unknown.status_code, unknown.json()) == (404, "No User matches the given query.")
    assert (await staff.client.post("/v2/apps/gift/", json={"owner": "bo"})).status_code == 403
    nothing = await ana.client.post("/v2/apps/gift/")
    assert (nothing.status_code, nothing.content) == (200, b"")
    given = await ana.client.post("/v2/apps/gift/", json={"owner": "bo"})
    assert (given.status_code, given.content) == (200, b"")
    assert (await bo.client.get("/v2/apps/gift/")).json()["owner"] == "bo"
    assert (await ana.client.get("/v2/apps/gift/")).status_code == 404


async def test_delete(api: Api, ana: Person) -> None:
    await api.create("doomed")
    await api.build("doomed")
    gone = await ana.client.delete("/v2/apps/doomed/")
    assert (gone.status_code, gone.content) == (204, b"")
    assert (await ana.client.get("/v2/apps/doomed/")).status_code == 404

    async def is_free() -> bool:
        return (await ana.client.post("/v2/apps/", json={"id": "doomed"})).status_code == 201

    await eventually(is_free)


async def test_run(api: Api, ana: Person) -> None:
    await api.create("jobs")
    empty = await ana.client.post("/v2/apps/jobs/run", json={})
    assert empty.status_code == 400
    assert empty.json() == {"detail": "command is a required field, or it can be defined in Procfile"}
    early = await ana.client.post("/v2/apps/jobs/run", json={"command": "ls"})
    assert (early.status_code, early.json()) == (400, {"detail": "no build available, please deploy a release"})
    await api.build("jobs")
    started = await ana.client.post("/v2/apps/jobs/run", json={"command": "ls -l", "timeout": 60, "expires": 60})
    assert (started.status_code, started.content) == (204, b"")
    bad = await ana.client.post("/v2/apps/jobs/run", json={"command": "ls", "timeout": "abc"})
    assert bad.status_code == 400
    for volumes, answer in (
        ({"v1": "/data"}, ["The length of ptype must be between 3 and 63"]),
        ({"vol1": "data"}, ["Volume path format: /path"]),
    ):
        response = await ana.client.post("/v2/apps/jobs/run", json={"command": "ls", "volumes": volumes})
        assert (response.status_code, response.json()) == (400, answer)
