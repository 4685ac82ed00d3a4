"""Settings of apps: what is merged, what is refused and how (controller-api.md 3.18, 4.17, 4.18, 5.94 and 5.95)."""

from __future__ import annotations

from typing import Any

import pytest

from support.controller_api import ALL_FEATURES, Api, Person, running_api
from support.fixtures import MakeDatabase

RULE = {"min": 1, "max": 3, "cpu_percent": 60}
LENGTH = "The length of ptype must be between 3 and 63"


async def change(person: Person, app: str, body: object) -> tuple[int, Any]:
    """Status and JSON of a change."""
    response = await person.client.post(f"/v2/apps/{app}/settings/", json=body)
    return response.status_code, response.json()


async def shown(person: Person, app: str) -> dict[str, Any]:
    """The settings that count now."""
    found: dict[str, Any] = (await person.client.get(f"/v2/apps/{app}/settings/")).json()
    return found


async def test_what_is_sent_is_merged(api: Api, ana: Person) -> None:
    await api.create("set-merge")
    await change(ana, "set-merge", {"label": {"team": "shop", "tier": 1}, "autoscale": {"web": RULE}})
    status, after = await change(
        ana, "set-merge", {"label": {"tier": None, "open": True}, "autoscale": {"worker": RULE}, "routable": None}
    )
    assert (status, after["label"], after["autoscale"]) == (
        201,
        {"team": "shop", "open": True},
        {"web": RULE, "worker": RULE},
    )
    assert after["routable"] is True
    assert await shown(ana, "set-merge") == after
    assert (await change(ana, "set-merge", {"autoscale": {"web": None}}))[1]["autoscale"] == {"worker": RULE}


@pytest.mark.parametrize(
    ("body", "status", "answer"),
    [
        ({}, 409, {"detail": "ana changed nothing"}),
        ({"allowlist": ["10.0.0.0/8"]}, 409, {"detail": "ana changed nothing"}),
        ({"routable": True, "label": {}, "autoscale": {}}, 409, {"detail": "ana changed nothing"}),
        ({"routable": "x"}, 400, {"routable": ["Must be a valid boolean."]}),
        (
            {"autoscale": {"web": {"min": 1, "max": 3}}},
            400,
            {"autoscale": ["could not validate {'min': 1, 'max': 3}: 'cpu_percent' is a required property"]},
        ),
        (
            {"autoscale": {"web": {**RULE, "min": "1"}}},
            400,
            {
                "autoscale": [
                    "could not validate {'min': '1', 'max': 3, 'cpu_percent': 60}: '1' is not of type 'integer'"
                ]
            },
        ),
        ({"autoscale": {"we": RULE}}, 400, {"autoscale": [LENGTH]}),
        (
            {"autoscale": {"run": RULE}},
            400,
            {"detail": "Cannot set autoscale for reserved types, procfile type is: run"},
        ),
        ({"autoscale": {"web": None}}, 422, {"detail": "web does not exist under autoscale"}),
        ({"label": {"nope": None}}, 422, {"detail": "nope does not exist under label"}),
        ({"label": ["x"]}, 400, {"label": ["could not validate ['x']: ['x'] is not of type 'object'"]}),
        (
            {"autoscale": {"web": {**RULE, "max": 101}}, "routable": False},
            400,
            {"autoscale": ["web: 101 is more than the 100 processes that a type may have here"]},
        ),
        (
            {"label": {"long": "x" * 262_144}, "routable": False},
            400,
            {"label": ["Ensure all labels together have no more than 262144 characters of JSON."]},
        ),
    ],
)
async def test_what_is_refused_changes_nothing(
    api: Api, ana: Person, body: dict[str, Any], status: int, answer: object
) -> None:
    if not (await ana.client.get("/v2/apps/set-bad/")).is_success:
        await api.create("set-bad")
    before = await shown(ana, "set-bad")
    assert await change(ana, "set-bad", body) == (status, answer)
    assert await shown(ana, "set-bad") == before


async def test_min_may_be_above_max(api: Api, ana: Person) -> None:
    """So it always was; nor need the process type exist. A target above 100 % is legal."""
    await api.create("set-odd")
    rule = {"min": 9, "max": 2, "cpu_percent": 150}
    status, after = await change(ana, "set-odd", {"autoscale": {"other": rule}})
    assert (status, after["autoscale"]) == (201, {"other": rule})


async def test_labels_keep_their_type(api: Api, ana: Person) -> None:
    """Python takes 1, 1.0 and true for the same."""
    await api.create("set-type")
    for value in (1, True, "1", [1], [True], {"a": 0}, {"a": False}):
        status, after = await change(ana, "set-type", {"label": {"a": value}})
        assert (status, repr(after["label"])) == (201, repr({"a": value}))
        assert repr((await shown(ana, "set-type"))["label"]) == repr({"a": value})
        assert (await change(ana, "set-type", {"label": {"a": value}}))[0] == 409


async def test_an_engine_that_cannot_scale(make_database: MakeDatabase) -> None:
    """What an earlier engine could do stands in nobody's way."""
    database, keys = await make_database("controller"), ["ZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmZmY="]
    async with running_api(database, encryption_keys=keys) as api:
        await api.create("shop")
        assert (await change(await api.person("ana"), "shop", {"autoscale": {"web": RULE, "worker": RULE}}))[0] == 201
    features = ALL_FEATURES - {"autoscale"}
    async with running_api(database, encryption_keys=keys, features=features) as api:
        ana = await api.person("ana")
        refused = (400, {"detail": "this engine cannot scale by itself: use `drycc pts scale`"})
        assert await change(ana, "shop", {"autoscale": {"web": {**RULE, "max": 4}}}) == refused
        assert (await change(ana, "shop", {"autodeploy": False}))[0] == 201
        assert (await change(ana, "shop", {"autoscale": {"web": None}}))[1]["autoscale"] == {"worker": RULE}
