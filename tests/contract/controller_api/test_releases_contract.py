"""Builds, config, releases, settings: what they answer, good input and bad."""

from __future__ import annotations

from typing import Any

import pytest

from support.controller_api import PROCFILE, Api, Person

REQUIRED = ["This field is required."]


def variable(name: str, value: str | None, group: str = "global") -> dict[str, Any]:
    """A change of one variable."""
    return {"values": [{"name": name, "value": value, "group": group}]}


async def test_no_build_yet(api: Api, ana: Person) -> None:
    await api.create("bare")
    response = await ana.client.get("/v2/apps/bare/build/")
    assert response.json() == {
        "app": None,
        "image": "",
        "stack": "",
        "sha": "",
        "procfile": None,
        "dryccfile": None,
        "dockerfile": "",
    }
    unknown = await ana.client.get("/v2/apps/bare/build/?version=v99")
    assert (unknown.status_code, unknown.json()) == (404, "No Release matches the given query.")
    assert (await ana.client.get("/v2/apps/bare/build/?version=abc")).status_code == 200


async def test_build_makes_a_release(api: Api, ana: Person) -> None:
    await api.create("built")
    body = {"image": "registry.example.org/built:1.4", "stack": "container", "procfile": PROCFILE}
    created = await ana.client.post("/v2/apps/built/build/", json=body)
    assert created.status_code == 201
    build = created.json()
    assert {name: build[name] for name in body} == body
    assert (build["owner"], build["app"], build["sha"], build["dryccfile"], build["dockerfile"]) == (
        "ana",
        "built",
        "",
        {},
        "",
    )
    assert (await ana.client.get("/v2/apps/built/build/?version=v2")).json() == build
    release = await api.settled("built")
    assert (release["version"], release["state"], release["build"]) == (2, "succeed", build["uuid"])
    assert release["summary"] == "ana deployed registry.example.org/built:1.4"
    assert release["conditions"][0]["state"] == "succeed"
    assert release["deployed_ptypes"] == ["web", "worker"]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        ({}, {"image": REQUIRED, "stack": REQUIRED}),
        ({"image": "", "stack": "x"}, {"image": ["This field may not be blank."]}),
        ({"image": "a", "stack": "x" * 33}, {"stack": ["Ensure this field has no more than 32 characters."]}),
        (
            {"image": "a", "stack": "x", "sha": "0" * 41},
            {"sha": ["Ensure this field has no more than 40 characters."]},
        ),
        ({"image": "localhost/a/b", "stack": "x"}, {"detail": "image must not use the loopback address"}),
        ({"image": "127.0.0.1:5000/a", "stack": "x"}, {"detail": "image must not use the loopback address"}),
        (
            {"image": "a", "stack": "x", "procfile": {"web": ""}},
            {"procfile": ["Command can't be empty for process type"]},
        ),
        (
            {"image": "a", "stack": "x", "procfile": {"we": "x"}},
            {"procfile": ["The length of ptype must be between 3 and 63"]},
        ),
        ({"image": "a", "stack": "x", "procfile": None}, {"procfile": ["This field may not be null."]}),
        (
            {"image": "a", "stack": "x", "dryccfile": {"x": 1}},
            {"dryccfile": ["could not validate {'x': 1}: 'pipeline' is a required property"]},
        ),
    ],
)
async def test_bad_builds(api: Api, ana: Person, body: dict[str, Any], answer: dict[str, Any]) -> None:
    if body == {}:
        await api.create("bad-builds")
    response = await ana.client.post("/v2/apps/bad-builds/build/", json=body)
    assert (response.status_code, response.json()) == (400, answer)
    assert (await ana.client.get("/v2/apps/bad-builds/build/")).json()["app"] is None


async def test_config_set_and_unset(api: Api, ana: Person) -> None:
    await api.create("conf")
    created = await ana.client.post("/v2/apps/conf/config/", json=variable("DEBUG", "1"))
    assert created.status_code == 201
    body = created.json()
    assert body["values"] == [{"name": "DEBUG", "group": "global", "value": "1"}]
    assert set(body) >= {"uuid", "app", "owner", "limits", "tags", "registry", "healthcheck", "values_refs"}
    assert (await ana.client.get("/v2/apps/conf/config/")).json() == body
    assert (await ana.client.get("/v2/apps/conf/config/?version=v1")).json()["values"] == []
    unset = await ana.client.post("/v2/apps/conf/config/", json=variable("DEBUG", None))
    assert unset.json()["values"] == []
    releases = (await ana.client.get("/v2/apps/conf/releases/")).json()
    assert [release["version"] for release in releases["results"]] == [3, 2, 1]
    assert releases["results"][1]["summary"] == "ana added values DEBUG"


async def test_config_that_changes_nothing(api: Api, ana: Person) -> None:
    await api.create("same")
    await ana.client.post("/v2/apps/same/config/", json=variable("A", "1"))
    for body in ({}, variable("A", "1"), variable("NOPE", None)):
        response = await ana.client.post("/v2/apps/same/config/", json=body)
        assert response.status_code == 409
        assert response.json() == {"detail": "ana changed nothing - release stopped"}


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({"values": None}, 400, {"values": ["This field may not be null."]}),
        (
            {"values": {"X": "1"}},
            400,
            {"values": ["could not validate {'X': '***'}: {'X': '***'} is not of type 'array'"]},
        ),
        (variable("X$", "1"), 400, {"values": [r"Config key can only supports: ^[A-z0-9_\-\.]+$"]}),
        (variable("PORT", "dog"), 400, {"values": ["PORT can only be a numeric value"]}),
        (variable("PORT", "70000"), 400, {"values": ["PORT needs to be between 1 and 65535"]}),
        ({"limits": {"web": "nope"}}, 400, {"limits": ["The limit plan nope does not exist"]}),
        ({"limits": {"worker": None}}, 422, {"detail": "worker does not exist under limits"}),
        ({"values_refs": {"nope": []}}, 422, {"detail": "nope does not exist under values_refs"}),
        (
            {"healthcheck": {"web": {"badProbe": {}}}},
            400,
            {"healthcheck": ["Healthcheck pattern: ^(livenessProbe|readinessProbe|startupProbe)$"]},
        ),
        ({"registry": {"nope": None}}, 422, {"detail": "nope does not exist under registry"}),
    ],
)
async def test_bad_config(api: Api, ana: Person, body: dict[str, Any], status: int, answer: dict[str, Any]) -> None:
    if body == {"values": None}:
        await api.create("bad-config")
    response = await ana.client.post("/v2/apps/bad-config/config/", json=body)
    assert (response.status_code, response.json()) == (status, answer)


async def test_groups(api: Api, ana: Person) -> None:
    await api.create("groups")
    await ana.client.post("/v2/apps/groups/config/", json={"values_refs": {"web": ["one", "two"]}})
    detached = await ana.client.request("DELETE", "/v2/apps/groups/config/", json={"values_refs": {"web": ["one"]}})
    assert (detached.status_code, detached.content) == (200, b"")
    assert (await ana.client.get("/v2/apps/groups/config/")).json()["values_refs"] == {"web": ["two"]}
    empty = await ana.client.request("DELETE", "/v2/apps/groups/config/", json={"values_refs": {}})
    assert (empty.status_code, empty.json()) == (400, {"detail": "ptype or groups is required"})
    missing = await ana.client.request("DELETE", "/v2/apps/groups/config/", json={})
    assert missing.status_code == 400
    again = await ana.client.request("DELETE", "/v2/apps/groups/config/", json={"values_refs": {"web": ["one"]}})
    assert again.status_code == 409


async def test_releases(api: Api, ana: Person) -> None:
    await api.create("rels")
    await api.build("rels")
    release = (await ana.client.get("/v2/apps/rels/releases/v2/")).json()
    assert set(release) >= {
        "uuid",
        "app",
        "owner",
        "created",
        "updated",
        "state",
        "version",
        "summary",
        "failed",
        "exception",
        "conditions",
        "deployed_ptypes",
        "config",
        "build",
    }
    for version in ("v99", "v0", "v99999999999999999999"):
        unknown = await ana.client.get(f"/v2/apps/rels/releases/{version}/")
        assert (unknown.status_code, unknown.json()) == (404, "No Release matches the given query.")
    only = (await ana.client.get("/v2/apps/rels/releases/?ptypes=web,worker&limit=5")).json()
    assert [release["version"] for release in only["results"]] == [2]
    assert (await ana.client.get("/v2/apps/rels/releases/?ptypes=nope")).json()["results"] == []


async def test_deploy(api: Api, ana: Person) -> None:
    await api.create("deploys")
    early = await ana.client.post("/v2/apps/deploys/releases/deploy/", json={})
    assert (early.status_code, early.json()) == (400, {"detail": "there are no builds available for deploy"})
    await api.build("deploys")
    for body in ({"force": True, "ptypes": ""}, {"ptypes": "web"}, {}):
        response = await ana.client.post("/v2/apps/deploys/releases/deploy/", json=body)
        assert (response.status_code, response.content) == (204, b"")
    unknown = await ana.client.post("/v2/apps/deploys/releases/deploy/", json={"ptypes": "nope"})
    assert (unknown.status_code, unknown.json()) == (400, {"detail": "process type nope is not exists"})
    odd = await ana.client.post("/v2/apps/deploys/releases/deploy/", json={"ptypes": ["web"]})
    assert odd.status_code == 400


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        ({"version": 0}, "version cannot be below 0"),
        ({"version": -3}, "version cannot be below 0"),
        ({"version": 1}, "Cannot roll back to initial release."),
        ({"version": 999}, "Release matching query does not exist."),
        ({"version": 10**30}, "Release matching query does not exist."),
        ({"version": "abc"}, "invalid literal for int() with base 10: 'abc'"),
        ({"version": 2, "ptypes": "nope"}, "process type nope is not included in procfile"),
    ],
)
async def test_bad_rollbacks(api: Api, ana: Person, body: dict[str, Any], detail: str) -> None:
    if body == {"version": 0}:
        await api.create("bad-rollbacks")
        only_first = await ana.client.post("/v2/apps/bad-rollbacks/releases/rollback/")
        assert (only_first.status_code, only_first.json()) == (400, {"detail": "version cannot be below 0"})
        await api.build("bad-rollbacks")
    response = await ana.client.post("/v2/apps/bad-rollbacks/releases/rollback/", json=body)
    assert (response.status_code, response.json()) == (400, {"detail": detail})


async def test_rollback(api: Api, ana: Person) -> None:
    await api.create("rolls")
    await api.build("rolls")
    await ana.client.post("/v2/apps/rolls/config/", json=variable("A", "1"))
    response = await ana.client.post("/v2/apps/rolls/releases/rollback/", json={"version": 2, "ptypes": ""})
    assert (response.status_code, response.json()) == (201, {"version": 4})
    release = await api.settled("rolls")
    assert release["summary"] == "ana rolled back to v2"


async def test_a_rollback_must_have_something_to_deploy(api: Api, ana: Person) -> None:
    await api.create("rolls-back")
    await ana.client.post("/v2/apps/rolls-back/config/", json=variable("A", "1"))
    await ana.client.post("/v2/apps/rolls-back/config/", json=variable("A", "2"))
    early = await ana.client.post("/v2/apps/rolls-back/releases/rollback/", json={"version": 2})
    assert (early.status_code, early.json()) == (201, {"version": 4})
    await api.build("rolls-back", procfile={"web": "python web.py"})
    await api.build("rolls-back")
    for body, detail in (
        ({"version": 2}, "there are no builds available for deploy"),
        ({"version": 5, "ptypes": "worker"}, "skip deploy, ptypes are not within the optional range: [web]"),
    ):
        response = await ana.client.post("/v2/apps/rolls-back/releases/rollback/", json=body)
        assert (response.status_code, response.json()) == (400, {"detail": detail})
    assert (await api.settled("rolls-back"))["version"] == 6


@pytest.mark.parametrize("path", ["settings", "config", "build"])
async def test_what_is_nested_too_deeply_is_refused(api: Api, ana: Person, path: str) -> None:
    app = await api.create(f"deep-{path}")

    def body(depth: int) -> str:
        value = '{"x":' * depth + "1" + "}" * depth
        if path == "settings":
            return f'{{"label":{{"x":{value}}}}}'
        if path == "config":
            return f'{{"healthcheck":{{"web":{{"livenessProbe":{{"x":{value}}}}}}}}}'
        return f'{{"image":"a","stack":"x","dryccfile":{value}}}'

    for depth in (95, 200, 800, 100_000):
        response = await ana.client.post(f"/v2/apps/{app}/{path}/", content=body(depth))
        if depth > 95:
            assert (response.status_code, response.json()) == (400, {"detail": "JSON parse error - nested too deeply"})
        else:
            assert response.status_code == (400 if path == "build" else 201), response.text


async def test_settings(api: Api, ana: Person) -> None:
    await api.create("settings")
    before = (await ana.client.get("/v2/apps/settings/settings/")).json()
    assert (before["routable"], before["autodeploy"], before["autorollback"]) == (True, True, True)
    assert (before["autoscale"], before["label"], before["owner"]) == ({}, {}, "ana")
    changed = await ana.client.post(
        "/v2/apps/settings/settings/", json={"label": {"team": "shop"}, "autodeploy": False}
    )
    assert changed.status_code == 201
    assert (changed.json()["label"], changed.json()["autodeploy"]) == ({"team": "shop"}, False)
    unchanged: tuple[dict[str, Any], ...] = ({}, {"autodeploy": False}, {"allowlist": []})
    for body in unchanged:
        same = await ana.client.post("/v2/apps/settings/settings/", json=body)
        assert (same.status_code, same.json()) == (409, {"detail": "ana changed nothing"})
    wrong = await ana.client.post("/v2/apps/settings/settings/", json={"routable": "x"})
    assert (wrong.status_code, wrong.json()) == (400, {"routable": ["Must be a valid boolean."]})
    rule = {"min": 1, "max": 4, "cpu_percent": 60}
    for name, number, why in (
        ("max", 2**31, "2147483648 is greater than the maximum of 2147483647"),
        ("max", 0, "0 is less than the minimum of 1"),
        ("min", -1, "-1 is less than the minimum of 0"),
        ("cpu_percent", 0, "0 is less than the minimum of 1"),
    ):
        odd = await ana.client.post("/v2/apps/settings/settings/", json={"autoscale": {"web": rule | {name: number}}})
        assert (odd.status_code, odd.json()["autoscale"][0].split(": ")[-1]) == (400, why)
    missing = await ana.client.post("/v2/apps/settings/settings/", json={"label": {"nope": None}})
    assert (missing.status_code, missing.json()) == (422, {"detail": "nope does not exist under label"})
