"""The catalogue of limit plans: for everybody who is known, filtered, paged, never without a GPU."""

from __future__ import annotations

from typing import Any

import pytest

from support.controller_api import Api, Person

SPEC: dict[str, Any] = {
    "id": "std1",
    "cpu": {"name": "Generic CPU", "cores": 32, "clock": "3000MHZ", "boost": "3600MHZ", "threads": 64},
    "memory": {"size": "64GB", "type": "DDR4"},
    "features": {
        "gpu": {
            "name": "Integrated GPU",
            "tmus": 1,
            "rops": 1,
            "cores": 128,
            "memory": {"size": "shared", "type": "shared"},
        },
        "network": "10G",
    },
    "disabled": False,
}
SMALL: dict[str, Any] = {
    "id": "std1.large.c1m1",
    "spec": SPEC,
    "cpu": 1,
    "memory": 1,
    "features": {"gpu": 1, "network": 1},
    "disabled": False,
}


async def test_specs(ana: Person) -> None:
    page = (await ana.client.get("/v2/limits/specs/")).json()
    assert page == {"count": 1, "next": None, "previous": None, "results": [SPEC]}
    for keywords, count in (("generic,CPU", 1), ("cpu;std1", 1), ("cpu,arm", 0), ("", 1)):
        assert (await ana.client.get("/v2/limits/specs", params={"keywords": keywords})).json()["count"] == count


async def test_plans(ana: Person) -> None:
    page = (await ana.client.get("/v2/limits/plans/?limit=2")).json()
    assert (page["count"], page["previous"]) == (28, None)
    assert page["next"] == "http://drycc.test/v2/limits/plans/?limit=2&offset=2"
    assert page["results"][0] == SMALL
    assert [plan["id"] for plan in page["results"]] == ["std1.large.c1m1", "std1.large.c1m2"]
    last = (await ana.client.get("/v2/limits/plans/?limit=2&offset=27")).json()
    assert [plan["id"] for plan in last["results"]] == ["std1.large.c64m512"]


async def test_filters(ana: Person) -> None:
    found = (await ana.client.get("/v2/limits/plans/?cpu=2&memory=4GB&spec-id=std1")).json()
    assert [plan["id"] for plan in found["results"]] == ["std1.large.c2m4"]
    assert (await ana.client.get("/v2/limits/plans/?spec-id=none")).json()["results"] == []
    assert (await ana.client.get("/v2/limits/plans/?cpu=")).json()["count"] == 28
    bad = await ana.client.get("/v2/limits/plans/?memory=much")
    assert (bad.status_code, bad.json()) == (400, {"detail": "memory must begin with a number, e.g. memory=4"})


async def test_one_plan(ana: Person) -> None:
    for path in ("/v2/limits/plans/std1.large.c1m1", "/v2/limits/plans/std1.large.c1m1/"):
        assert (await ana.client.get(path)).json() == SMALL
    unknown = await ana.client.get("/v2/limits/plans/none/")
    assert (unknown.status_code, unknown.json()) == (404, "No LimitPlan matches the given query.")


@pytest.mark.parametrize("path", ["specs", "plans", "plans/std1.large.c1m1"])
async def test_nobody_else(api: Api, path: str) -> None:
    assert (await api.anonymous.get(f"/v2/limits/{path}")).status_code == 401


async def test_a_plan_reaches_the_process(api: Api, ana: Person) -> None:
    await api.create("lim-a")
    await api.build("lim-a")
    assert await plans(api, "lim-a") == {"web": "std1.large.c1m1", "worker": "std1.large.c1m1"}
    changed = await ana.client.post("/v2/apps/lim-a/config/", json={"limits": {"web": "std1.large.c2m4"}})
    assert changed.status_code == 201
    assert changed.json()["limits"]["web"] == "std1.large.c2m4"
    await api.settled("lim-a")
    assert await plans(api, "lim-a") == {"web": "std1.large.c2m4", "worker": "std1.large.c1m1"}


@pytest.mark.parametrize("plan", ["nope", 5])
async def test_an_unknown_plan(api: Api, ana: Person, plan: object) -> None:
    name = f"lim-{plan}"
    await api.create(name)
    refused = await ana.client.post(f"/v2/apps/{name}/config/", json={"limits": {"web": plan}})
    assert (refused.status_code, refused.json()) == (400, {"limits": [f"The limit plan {plan} does not exist"]})


async def test_unsetting(api: Api, ana: Person) -> None:
    await api.create("lim-unset")
    await api.build("lim-unset")
    body = {"limits": {"nobody": None}}
    refused = await ana.client.post("/v2/apps/lim-unset/config/", json=body)
    assert (refused.status_code, refused.json()) == (422, {"detail": "nobody does not exist under limits"})
    assert (await ana.client.post("/v2/apps/lim-unset/config/", json={"limits": {"web": None}})).status_code == 201
    config = (await ana.client.get("/v2/apps/lim-unset/config/")).json()
    assert config["limits"]["web"] == "std1.large.c1m1"


async def test_tags_need_a_machine(api: Api, ana: Person) -> None:
    await api.create("lim-tags")
    await api.build("lim-tags")
    api.engine.label_machines({"disk": "ssd", "zone": "a"}, {"disk": "hdd"})
    try:
        await set_tags(ana, {"disk": "ssd"}, expected=201)
        assert await set_tags(ana, {"zone": "b"}, expected=400) == {
            "detail": "No nodes matched the provided labels: disk=ssd, zone=b - Addition of zone=b is the cause"
        }
        await set_tags(ana, {"zone": "a"}, expected=201)
        api.engine.label_machines()
        await set_tags(ana, {"zone": None}, expected=201)
        await set_tags(ana, {"disk": None}, expected=201)
        assert await set_tags(ana, {"gpu": "yes"}, expected=400) == {
            "detail": "No nodes matched the provided labels: gpu=yes"
        }
    finally:
        api.engine.label_machines({"disk": "ssd"})
    await set_tags(ana, {"disk": "ssd"}, expected=201)
    await api.settled("lim-tags")
    spec = api.engine.spec("lim-tags")
    assert spec is not None
    assert {process.ptype: dict(process.tags) for process in spec.processes} == {"web": {"disk": "ssd"}, "worker": {}}


async def set_tags(person: Person, tags: dict[str, str | None], *, expected: int) -> Any:
    """Change the tags of web."""
    response = await person.client.post("/v2/apps/lim-tags/config/", json={"tags": {"web": tags}})
    assert response.status_code == expected, response.text
    return response.json()


async def plans(api: Api, app: str) -> dict[str, str]:
    """The plan of each process type, as the engine was told."""
    spec = api.engine.spec(app)
    assert spec is not None
    return {process.ptype: process.plan for process in spec.processes}
