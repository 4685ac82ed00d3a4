"""Instances, process types, events."""

from __future__ import annotations

from typing import Any

import pytest

from support import eventually
from support.controller_api import Api, Person


async def pods(person: Person, app: str, ptype: str | None = None) -> list[dict[str, Any]]:
    """The instances that are up."""
    listed = (await person.client.get(f"/v2/apps/{app}/pods/?limit=1000")).json()
    assert listed["count"] == len(listed["results"])
    return [pod for pod in listed["results"] if pod["state"] == "up" and ptype in (None, pod["type"])]


async def test_nothing_runs_yet(api: Api, ana: Person) -> None:
    await api.create("idle")
    for path in ("pods", "ptypes", "events"):
        assert (await ana.client.get(f"/v2/apps/idle/{path}/")).json() == {"results": [], "count": 0}


async def test_pods(api: Api, ana: Person) -> None:
    await api.create("pods")
    await api.build("pods")
    (pod,) = await pods(ana, "pods")
    assert set(pod) == {"name", "state", "release", "type", "started", "ready", "restarts"}
    assert (pod["release"], pod["type"], pod["ready"], pod["restarts"]) == ("v2", "web", "1/1", 0)
    described = (await ana.client.get(f"/v2/apps/pods/pods/{pod['name']}/describe/?limit=1000")).json()
    (container,) = described["results"]
    assert (container["container"], container["image"]) == ("pods-web", "workspace/pods:1")
    assert container["args"] == ["python web.py"]
    assert "running" in container["state"]
    assert (container["ready"], container["restartCount"], container["lastState"]) == (True, 0, {})
    unknown = await ana.client.get("/v2/apps/pods/pods/nope/describe/")
    assert (unknown.status_code, unknown.json()) == (400, {"detail": "this process not found"})
    assert (await ana.client.get("/v2/apps/pods/pods/a.b/describe/")).headers["content-type"].startswith("text/html")
    events = (await ana.client.get(f"/v2/apps/pods/events/?pod_name={pod['name']}")).json()
    assert set(events["results"][0]) == {"reason", "message", "created"}


async def test_deleted_pods_are_replaced(api: Api, ana: Person) -> None:
    await api.create("replaced")
    await api.build("replaced")
    (pod,) = await pods(ana, "replaced")
    body = {"pod_ids": f"{pod['name']},unknown"}
    deleted = await ana.client.request("DELETE", "/v2/apps/replaced/pods/", json=body)
    assert (deleted.status_code, deleted.content) == (200, b"")

    async def is_replaced() -> bool:
        return [each["name"] for each in await pods(ana, "replaced")] not in ([], [pod["name"]])

    await eventually(is_replaced)
    missing = await ana.client.request("DELETE", "/v2/apps/replaced/pods/", json={})
    assert (missing.status_code, missing.json()) == (400, {"pod_ids": ["This field is required."]})


async def test_ptypes(api: Api, ana: Person) -> None:
    await api.create("ptypes")
    await api.build("ptypes")
    listed = (await ana.client.get("/v2/apps/ptypes/ptypes/")).json()
    web = next(ptype for ptype in listed["results"] if ptype["name"] == "web")
    assert web.pop("started").endswith("Z")
    assert web == {
        "name": "web",
        "release": "v2",
        "ready": "1/1",
        "garbage": False,
        "up_to_date": 1,
        "available_replicas": 1,
    }
    described = (await ana.client.get("/v2/apps/ptypes/ptypes/ptypes-web/describe/")).json()
    (container,) = described["results"]
    assert container["container"] == "ptypes-web"
    assert all(isinstance(value, str) for value in container["limits"].values())
    for name in ("ptypes-nope", "web"):
        unknown = await ana.client.get(f"/v2/apps/ptypes/ptypes/{name}/describe/")
        assert (unknown.status_code, unknown.json()) == (400, {"detail": "this procfile type not found"})
    events = (await ana.client.get("/v2/apps/ptypes/events/?ptype=ptypes-web")).json()
    assert events["results"][0]["reason"] == "Deployed"


async def test_scale(api: Api, ana: Person) -> None:
    await api.create("scales")
    await api.build("scales")
    scaled = await ana.client.post("/v2/apps/scales/ptypes/scale/", json={"web": 3, "worker": 1})
    assert (scaled.status_code, scaled.content) == (204, b"")

    async def has_grown() -> bool:
        return len(await pods(ana, "scales", "web")) == 3 and len(await pods(ana, "scales", "worker")) == 1

    await eventually(has_grown)
    assert (await ana.client.get("/v2/apps/scales/")).json()["structure"] == {"web": 3, "worker": 1}


@pytest.mark.parametrize("counts", [{"web": -1}, {"web": "many"}, {"web": [1]}, {"web": True}, {"run": 1}, {"nope": 1}])
async def test_bad_scale(api: Api, ana: Person, counts: dict[str, Any]) -> None:
    if counts == {"web": -1}:
        await api.create("bad-scale")
        await api.build("bad-scale")
    response = await ana.client.post("/v2/apps/bad-scale/ptypes/scale/", json=counts)
    assert response.status_code == 400
    assert isinstance(response.json()["detail"], str)


async def test_restart_and_clean(api: Api, ana: Person) -> None:
    await api.create("again")
    await api.build("again")
    (pod,) = await pods(ana, "again")
    for body in ({"ptypes": "web"}, {"ptypes": ""}, {}):
        assert (await ana.client.post("/v2/apps/again/ptypes/restart/", json=body)).status_code == 204

    async def is_new() -> bool:
        return [each["name"] for each in await pods(ana, "again")] not in ([], [pod["name"]])

    await eventually(is_new)
    unknown = await ana.client.post("/v2/apps/again/ptypes/restart/", json={"ptypes": "nope"})
    assert (unknown.status_code, unknown.json()) == (
        400,
        {"detail": "process type nope is not included in procfile"},
    )
    nothing = await ana.client.post("/v2/apps/again/ptypes/clean/", json={})
    assert (nothing.status_code, nothing.json()) == (400, {"detail": "ptypes is a required field"})
    busy = await ana.client.post("/v2/apps/again/ptypes/clean/", json={"ptypes": "web"})
    assert (busy.status_code, busy.json()) == (400, {"detail": "ptype web should not garbage."})
    assert (await ana.client.post("/v2/apps/again/ptypes/clean/", json={"ptypes": "gone"})).status_code == 204


async def test_a_failure_explains_itself(api: Api, ana: Person) -> None:
    await api.create("fails")
    api.engine.fail("fails", "web")
    body = {"image": "workspace/fails:1", "stack": "python", "sha": "abc", "procfile": {"web": "python web.py"}}
    assert (await ana.client.post("/v2/apps/fails/build/", json=body)).status_code == 201
    release = await api.settled("fails")
    assert (release["state"], release["failed"]) == ("crashed", True)
    condition = release["conditions"][0]
    assert condition["failure"]["code"] == "process-crashed"
    shown = (await ana.client.get("/v2/apps/fails/releases/v2/")).json()
    assert shown["failure"] == condition["failure"]
    assert shown["exception"] == "process-crashed: web ended with exit code 1"
    assert "web ended with exit code 1" in condition["exception"]
    events = (await ana.client.get("/v2/apps/fails/events/?ptype=fails-web")).json()["results"]
    assert events[-1]["reason"] == "process-crashed"
