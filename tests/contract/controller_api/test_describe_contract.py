"""What instances and process types consist of, and what happened to them, in all that clients show of it."""

from __future__ import annotations

from typing import Any

from controller.domain.spec import Failure
from support import eventually
from support.controller_api import Api, Person


async def results(person: Person, path: str) -> list[dict[str, Any]]:
    response = await person.client.get(path)
    assert response.status_code == 200, response.text
    body = response.json()
    assert body["count"] == len(body["results"])
    found: list[dict[str, Any]] = body["results"]
    return found


async def test_a_process_type_with_everything(api: Api, ana: Person) -> None:
    await api.create("rich")
    await api.build("rich")
    volume = {"name": "data", "size": "1G", "type": "csi"}
    assert (await ana.client.post("/v2/apps/rich/volumes/", json=volume)).status_code == 201
    mounted = await ana.client.patch("/v2/apps/rich/volumes/data/path/", json={"path": {"web": "/data"}})
    assert mounted.status_code == 200, mounted.text
    config = {
        "limits": {"web": "std1.large.c2m4"},
        "tags": {"web": {"disk": "ssd"}},
        "healthcheck": {
            "web": {
                "startupProbe": {"exec": {"command": ["true"]}, "failureThreshold": 30},
                "livenessProbe": {"httpGet": {"port": 8000, "path": "/live"}, "initialDelaySeconds": 7},
            }
        },
    }
    assert (await ana.client.post("/v2/apps/rich/config/", json=config)).status_code == 201
    await api.settled("rich")
    (found,) = await results(ana, "/v2/apps/rich/ptypes/rich-web/describe/")
    times = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1}
    assert found == {
        "container": "rich-web",
        "image": "workspace/rich:1",
        "command": [],
        "args": ["python web.py"],
        "startup_probe": {
            "exec": {"command": ["true"]},
            "initialDelaySeconds": 0,
            **times,
            "failureThreshold": 30,
        },
        "liveness_probe": {
            "httpGet": {"path": "/live", "port": 8000},
            "initialDelaySeconds": 7,
            **times,
            "failureThreshold": 3,
        },
        "readiness_probe": {},
        "limits": {"cpu": "2", "memory": "4Gi", "ephemeral-storage": "4Gi"},
        "volume_mounts": [{"name": "data", "mountPath": "/data"}],
        "node_selector": {"disk": "ssd"},
    }


async def test_an_instance_of_an_older_release_shows_what_it_runs(api: Api, ana: Person) -> None:
    await api.create("older")
    await api.build("older")
    (old,) = [pod for pod in await results(ana, "/v2/apps/older/pods/") if pod["type"] == "web"]
    api.engine.hold("older", "web")
    body = {"image": "workspace/older:2", "stack": "python", "sha": "b", "procfile": {"web": "python new.py"}}
    assert (await ana.client.post("/v2/apps/older/build/", json=body)).status_code == 201
    (container,) = await results(ana, f"/v2/apps/older/pods/{old['name']}/describe/")
    assert (container["image"], container["args"]) == ("workspace/older:1", ["python web.py"])
    api.engine.let_go("older", "web")
    await api.settled("older")


async def test_a_one_off_shows_its_command_and_why_it_failed(api: Api, ana: Person) -> None:
    await api.create("oneoff")
    await api.build("oneoff")
    api.engine.script_jobs(3, "boom")
    started = await ana.client.post("/v2/apps/oneoff/run", json={"command": "./migrate --all"})
    name = started.headers["x-workflow-job"]

    async def has_crashed() -> bool:
        return bool((await ana.client.get(f"/v2/apps/oneoff/jobs/{name}")).json()["state"] == "crashed")

    await eventually(has_crashed)
    api.engine.script_jobs(0)
    (pod,) = [pod for pod in await results(ana, "/v2/apps/oneoff/pods/") if pod["name"] == name]
    assert (pod["type"], pod["state"], pod["ready"], pod["release"]) == ("run", "crashed", "0/1", "v2")
    (container,) = await results(ana, f"/v2/apps/oneoff/pods/{name}/describe/")
    assert (container["image"], container["args"]) == ("workspace/oneoff:1", ["./migrate --all"])
    assert container["state"]["terminated"]["exitCode"] == 3
    message = f"process-crashed. `drycc ps logs {name} -a oneoff` shows all of its output."
    assert (container["status"], container["message"]) == ("Failed", message)
    events = await results(ana, f"/v2/apps/oneoff/events/?pod_name={name}")
    assert [(event["reason"], event["message"]) for event in events] == [
        ("Started", "run of v2 started"),
        ("Failed", message),
    ]
    for event in events:
        assert set(event) == {"reason", "message", "created"}


async def test_events_of_process_types(api: Api, ana: Person) -> None:
    await api.create("eventful")
    await api.build("eventful")
    path = "/v2/apps/eventful/events/"
    assert await results(ana, path) == []
    assert await results(ana, f"{path}?ptype=web") == []
    assert await results(ana, f"{path}?pod_name=none") == []
    assert await results(ana, f"{path}?pod_name=none&ptype=eventful-web") == []
    assert [event["reason"] for event in await results(ana, f"{path}?ptype=eventful-web")] == ["Deployed"]
    failure = Failure("never-listened", "web", "web listens on nothing", ("starting",), "use $PORT")
    api.engine.fail("eventful", "web", failure)
    body = {"image": "workspace/eventful:2", "stack": "python", "sha": "b", "procfile": {"web": "python new.py"}}
    assert (await ana.client.post("/v2/apps/eventful/build/", json=body)).status_code == 201
    await api.settled("eventful")
    events = await results(ana, f"{path}?ptype=eventful-web")
    assert [event["reason"] for event in events] == ["Deployed", "never-listened"]
    assert events[-1]["message"] == "web listens on nothing\n  starting\nHint: use $PORT\nRolled back to v2."


async def test_a_restart_that_fails_is_an_event_too(api: Api, ana: Person) -> None:
    await api.create("restarted")
    await api.build("restarted")
    failure = Failure("process-crashed", "web", "web ended with exit code 1", ("boom",), "read the log")
    api.engine.fail("restarted", "web", failure)
    assert (await ana.client.post("/v2/apps/restarted/ptypes/restart/", json={"ptypes": "web"})).status_code == 204

    async def is_told() -> bool:
        events = await results(ana, "/v2/apps/restarted/events/?ptype=restarted-web")
        return [event["reason"] for event in events] == ["Deployed", "process-crashed"]

    await eventually(is_told)


async def test_names_with_several_hyphens_in_a_row_can_be_described(api: Api, ana: Person) -> None:
    await api.create("far--out")
    await api.build("far--out")
    (pod,) = await results(ana, "/v2/apps/far--out/pods/")
    (found,) = await results(ana, f"/v2/apps/far--out/pods/{pod['name']}/describe/")
    assert found["container"] == "far--out-web"
    (found,) = await results(ana, "/v2/apps/far--out/ptypes/far--out-web/describe/")
    assert found["container"] == "far--out-web"
    job = await ana.client.post("/v2/apps/far--out/run/", json={"command": "ls"})
    assert (await ana.client.get(job.headers["location"])).status_code == 200
