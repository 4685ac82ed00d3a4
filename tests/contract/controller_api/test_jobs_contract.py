"""One-off commands over HTTP: what released clients send and get, and what Workflow tells besides."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controller.engine.port import NotSupportedError
from controller.services.jobs import Jobs
from support import eventually
from support.controller_api import Api, Person, running_api
from support.fixtures import MakeDatabase

LINE = "bash migrate --all"
NO_JOB = "No Job matches the given query."


@pytest.fixture
async def app(api: Api, ana: Person, request: pytest.FixtureRequest) -> str:
    """An app with a build."""
    name = f"jobs-{abs(hash(request.node.name)) % 10**9}"
    await api.create(name)
    await api.build(name)
    return name


async def start(person: Person, app: str, **body: Any) -> dict[str, Any]:
    response = await person.client.post(f"/v2/apps/{app}/jobs", json={"command": LINE, **body})
    assert response.status_code == 201, response.text
    job: dict[str, Any] = response.json()
    assert response.headers["location"] == f"/v2/apps/{app}/jobs/{job['name']}"
    return job


async def state_of(person: Person, job: dict[str, Any], *states: str) -> dict[str, Any]:
    """The job, when it is in one of these states."""
    found: dict[str, Any] = {}

    async def is_there() -> bool:
        found.update((await person.client.get(f"/v2/apps/{job['app']}/jobs/{job['name']}/")).json())
        return found["state"] in states

    await eventually(is_there)
    return found


async def test_run_tells_released_clients_nothing_and_others_the_name(api: Api, ana: Person, app: str) -> None:
    sent = {"command": "ls -l", "timeout": 3600, "expires": 3600}
    response = await ana.client.post(f"/v2/apps/{app}/run", json=sent)
    assert (response.status_code, response.content) == (204, b"")
    name = response.headers["x-workflow-job"]
    assert name.startswith(f"{app}-run-")
    assert response.headers["location"] == f"/v2/apps/{app}/jobs/{name}"
    done = await state_of(ana, {"app": app, "name": name}, "down")
    assert (done["exit_code"], done["command"], done["shell"]) == (0, ["ls -l"], True)


@pytest.mark.parametrize("path", ["run", "jobs"])
async def test_refusals(api: Api, ana: Person, path: str) -> None:
    app = f"refused-{path}"
    await api.create(app)
    url = f"/v2/apps/{app}/{path}"

    async def answer(**body: Any) -> tuple[int, Any]:
        response = await ana.client.post(url, json=body)
        return response.status_code, response.json()

    no_command = {"detail": "command is a required field, or it can be defined in Procfile"}
    assert await answer() == (400, no_command)
    assert await answer(command=" ") == (400, no_command)
    assert await answer(command="ls") == (400, {"detail": "no build available, please deploy a release"})
    await api.build(app)
    bad_time = {"detail": "timeout must be a number of seconds, not 'abc'"}
    assert await answer(command="ls", timeout="abc") == (400, bad_time)
    endless = {"detail": f"expires must be a number of seconds, not '{'9' * 40}'"}
    assert await answer(command="ls", expires="9" * 5000) == (400, endless)
    short = ["The length of ptype must be between 3 and 63"]
    assert await answer(command="ls", volumes={"v1": "/data"}) == (400, short)
    assert await answer(command="ls", volumes={"vol1": "data"}) == (400, ["Volume path format: /path"])
    assert (await ana.client.get(f"/v2/apps/{app}/jobs")).json()["count"] == 0


async def test_only_so_many_may_be_under_way(make_database: MakeDatabase) -> None:
    async with running_api(await make_database("controller"), run_worker=False, max_jobs=2) as api:
        ana = await api.person("ana")
        for name in ("many", "few"):
            await api.create(name)
            body = {"image": "example/app", "stack": "container"}
            assert (await ana.client.post(f"/v2/apps/{name}/build/", json=body)).status_code == 201
        jobs = [await start(ana, "many") for _ in range(2)]
        for path in ("run", "jobs"):
            refused = await ana.client.post(f"/v2/apps/many/{path}", json={"command": LINE})
            assert refused.status_code == 400
            assert refused.json()["detail"].startswith("2 one-off commands of this app have not ended")
        await start(ana, "few")
        async with api.context.unit_of_work() as uow:
            ended = await Jobs(uow).get("many", jobs[0]["name"])
            await Jobs(uow).save(replace(ended, state="down"))
        await start(ana, "many")


async def test_the_whole_object(api: Api, ana: Person, app: str) -> None:
    api.engine.script_jobs(3, "one", "two")
    job = await start(ana, app, timeout=60, expires=90)
    done = await state_of(ana, job, "crashed")
    api.engine.script_jobs(0)
    assert set(job) == set(done)
    assert done == {
        **job,
        "state": "crashed",
        "exit_code": 3,
        "reason": "process-crashed",
        "log": ["one", "two"],
        "hint": f"`drycc ps logs {job['name']} -a {app}` shows all of its output.",
        "started": done["started"],
        "finished": done["finished"],
        "expires": done["expires"],
        "updated": done["updated"],
    }
    assert (job["owner"], job["app"], job["ptype"], job["release"], job["timeout"]) == ("ana", app, "run", "v2", 60)
    assert (job["command"], job["shell"], job["volumes"], job["log"], job["hint"]) == ([LINE], True, {}, [], "")
    assert (job["exit_code"], job["reason"], job["started"], job["finished"], job["expires"]) == (None,) * 5
    assert done["started"] <= done["finished"] < done["expires"]


async def test_a_list_of_arguments(api: Api, ana: Person, app: str) -> None:
    words = ["printf", "%s|", "a  b", ""]
    job = await state_of(ana, await start(ana, app, command=words), "down")
    assert (job["command"], job["shell"]) == (words, False)
    spec = api.engine.job_spec(app, job["name"])
    assert spec is not None
    assert spec.process.args == tuple(words)


@pytest.mark.parametrize("path", ["run", "jobs"])
async def test_a_repeated_request_with_a_key_runs_once(api: Api, ana: Person, app: str, path: str) -> None:
    headers = {"Idempotency-Key": f"nightly-{path}"}
    answers = [
        await ana.client.post(f"/v2/apps/{app}/{path}", json={"command": LINE}, headers=headers) for _ in range(2)
    ]
    assert {answer.status_code for answer in answers} == {204 if path == "run" else 201}
    assert len({answer.headers["location"] for answer in answers}) == 1
    assert (await ana.client.get(f"/v2/apps/{app}/jobs")).json()["count"] == 1


async def test_lists_come_in_pages(api: Api, ana: Person, app: str) -> None:
    names = [(await start(ana, app))["name"] for _ in range(3)]
    page = (await ana.client.get(f"/v2/apps/{app}/jobs/?limit=2")).json()
    assert [job["name"] for job in page["results"]] == [names[2], names[1]]
    assert (page["count"], page["previous"]) == (3, None)
    last = (await ana.client.get(page["next"])).json()
    assert [job["name"] for job in last["results"]] == [names[0]]


async def test_stopping(api: Api, ana: Person, app: str) -> None:
    api.engine.script_jobs(None)
    job = await state_of(ana, await start(ana, app), "up")
    api.engine.script_jobs(0)
    url = f"/v2/apps/{app}/jobs/{job['name']}"
    for _ in range(2):
        response = await ana.client.delete(url)
        assert (response.status_code, response.content) == (204, b"")
    done = await state_of(ana, job, "crashed")
    assert (done["reason"], done["hint"]) == ("stopped", "")
    assert (await ana.client.delete(url)).status_code == 204
    assert (await ana.client.get(url)).json() == done


async def test_the_log_and_its_offsets(api: Api, ana: Person, app: str) -> None:
    job = await state_of(ana, await start(ana, app, command="echo hello"), "down")
    url = f"/v2/apps/{app}/jobs/{job['name']}/log"
    whole = await ana.client.get(url)
    assert whole.status_code == 200
    assert whole.headers["content-type"] == "text/plain; charset=utf-8"
    assert whole.content.endswith(b"\n")
    for offset in (0, 3, len(whole.content), len(whole.content) + 5):
        rest = await ana.client.get(url, params={"offset": offset, "follow": "true"})
        assert rest.content == whole.content[offset:]
    for query, field in ((("offset", "-1"), "offset"), (("follow", "maybe"), "follow")):
        bad = await ana.client.get(url, params=[query])
        assert (bad.status_code, list(bad.json())) == (400, [field])


async def test_a_log_that_is_followed_ends_with_the_command(api: Api, ana: Person, app: str) -> None:
    api.engine.script_jobs(None)
    job = await start(ana, app)
    url = f"/v2/apps/{app}/jobs/{job['name']}/log?follow=true"
    following = asyncio.create_task(ana.client.get(url))
    await state_of(ana, job, "up")
    api.engine.script_jobs(0)
    api.engine.write_log(app, "half way", instance=job["name"])
    api.engine.finish_job(app, job["name"], 0)
    answer = await asyncio.wait_for(following, 10)
    assert answer.text.splitlines()[-1] == "half way"


async def test_a_log_that_the_engine_has_lost_shows_the_last_lines(api: Api, ana: Person, app: str) -> None:
    api.engine.refuse_jobs(NotSupportedError("the quota of the app is used up"))
    job = await start(ana, app)
    await state_of(ana, job, "crashed")
    api.engine.refuse_jobs(None)
    answer = await ana.client.get(f"/v2/apps/{app}/jobs/{job['name']}/log?follow=true")
    assert answer.text == "the quota of the app is used up\n"


async def test_who_may(api: Api, ana: Person, bo: Person, root: Person, app: str) -> None:
    job = await state_of(ana, await start(ana, app), "down")
    paths = {("GET", "jobs"), ("GET", f"jobs/{job['name']}"), ("GET", f"jobs/{job['name']}/log")}
    writing = {("POST", "jobs"), ("POST", "run"), ("DELETE", f"jobs/{job['name']}")}
    for method, path in paths | writing:
        assert (await api.anonymous.request(method, f"/v2/apps/{app}/{path}")).status_code == 401
        stranger = await bo.client.request(method, f"/v2/apps/{app}/{path}")
        assert (stranger.status_code, stranger.json()) == (404, "No App matches the given query.")
    viewer = await api.grant(app, "vera", "view")
    for method, path in paths:
        assert (await viewer.client.request(method, f"/v2/apps/{app}/{path}")).status_code == 200
    for method, path in writing:
        assert (await viewer.client.request(method, f"/v2/apps/{app}/{path}")).status_code == 403
    for method in ("GET", "DELETE"):
        missing = await root.client.request(method, f"/v2/apps/{app}/jobs/{app}-run-none")
        assert (missing.status_code, missing.json()) == (404, NO_JOB)
    other = await api.create(f"{app}-two")
    for path in (f"jobs/{job['name']}", f"jobs/{job['name']}/log"):
        assert (await ana.client.get(f"/v2/apps/{other}/{path}")).json() == NO_JOB
