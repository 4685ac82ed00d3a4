"""A builder that knows `hooks/key`, `hooks/config` and `hooks/build` only, and reads answers as its SDK did.

Headers, paths and the meaning of answers are those of builder.md 8.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import pytest_asyncio

from controller.domain.spec import AppSpec
from support import eventually
from support.controller_api import BUILDER_KEY, PROCFILE, Api, Person, running_api
from support.fixtures import MakeDatabase

SDK_VERSION = "2.3"
BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"o" * 32).decode()
SHA = "0a1b2c3d"


class SdkError(Exception):
    """What the SDK made of an answer that was no success."""


@dataclass
class OldBuilder:
    """Asks as the released builder did."""

    client: httpx.AsyncClient

    async def login(self, blob: str) -> dict[str, Any]:
        """Whose key this is."""
        digest = hashlib.md5(base64.b64decode(blob), usedforsecurity=False).hexdigest()
        fingerprint = ":".join(digest[at : at + 2] for at in range(0, 32, 2))
        owner: dict[str, Any] = await self.ask("GET", f"/v2/hooks/key/{fingerprint}")
        return owner

    async def config(self, user: str, app: str) -> dict[str, str]:
        """The variables that builds see."""
        body = {"receive_user": user, "receive_repo": app}
        values = (await self.ask("POST", "/v2/hooks/config/", body))["values"]
        return {each["name"]: each["value"] for each in values if each.get("group") == "global"}

    async def release(self, user: str, app: str, **facts: Any) -> int:
        """Have a release made; returns its number, for `Done, <app>:v<n> deployed to Workflow`."""
        body = {
            "sha": SHA,
            "receive_user": user,
            "receive_repo": app,
            "image": f"registry.example.org/{app}/{app}:git-{SHA}",
            "stack": "buildpack",
            "procfile": PROCFILE,
            "dockerfile": "",
            "dryccfile": {},
        }
        version: int = (await self.ask("POST", "/v2/hooks/build/", body | facts))["release"]["version"]
        return version

    async def ask(self, method: str, path: str, body: object = None) -> Any:
        """One call, with the SDK's look at the version and its words for errors."""
        content = None if body is None else json.dumps(body).encode()
        response = await self.client.request(method, path, content=content)
        ours, theirs = SDK_VERSION.split("."), response.headers["DRYCC_API_VERSION"].split(".")
        assert ours[0] == theirs[0]
        assert theirs[1] >= ours[1]  # compared as text
        if response.status_code in (200, 201, 204):
            return response.json()
        raise SdkError(_words(response))


def _words(response: httpx.Response) -> str:
    text = response.text
    words = {
        400: f"Unknown Error (400): {text}".replace("\\n", "\n"),
        401: "Unauthorized: Missing or Invalid Token",
        403: "you do not have permission to perform this action",
        404: text or "Not Found",
        405: "Method Not Allowed",
        409: text,
    }
    return words.get(response.status_code, "Internal Server Error")


@asynccontextmanager
async def builder_at(api: Api, key: str = BUILDER_KEY) -> AsyncIterator[OldBuilder]:
    headers = {"x_drycc_builder_auth": key, "content_type": "application/json", "user_agent": "drycc-builder"}
    async with api.client(**headers) as client:
        yield OldBuilder(client)


@pytest_asyncio.fixture(loop_scope="session")
async def builder(api: Api) -> AsyncIterator[OldBuilder]:
    async with builder_at(api) as builder:
        yield builder


def running(api: Api, app: str) -> AppSpec:
    """What the engine was told to run."""
    spec = api.engine.spec(app)
    assert spec is not None
    return spec


async def test_a_push_from_login_to_running_processes(api: Api, builder: OldBuilder, ana: Person) -> None:
    await api.create("old-push")
    await ana.client.post("/v2/keys/", json={"id": "laptop", "public": f"ssh-ed25519 {BLOB} ana@laptop"})
    values = [
        {"name": "GREETING", "value": "hello", "group": "global"},
        {"name": "ONLY", "value": "web", "ptype": "web"},
    ]
    await ana.client.post("/v2/apps/old-push/config/", json={"values": values})

    assert await builder.login(BLOB) == {"username": "ana", "apps": ["old-push"]}
    assert await builder.config("ana", "old-push") == {"GREETING": "hello"}
    version = await builder.release("ana", "old-push")

    release = await api.settled("old-push")
    assert (release["version"], release["state"], release["summary"]) == (version, "succeed", "ana deployed 0a1b2c3")
    assert release["deployed_ptypes"] == ["web", "worker"]
    assert {each.image for each in running(api, "old-push").processes} == {
        f"registry.example.org/old-push/old-push:git-{SHA}"
    }
    pods = (await ana.client.get("/v2/apps/old-push/pods/")).json()["results"]
    assert {(pod["type"], pod["state"]) for pod in pods} == {("web", "up")}
    build = (await ana.client.get("/v2/apps/old-push/build/")).json()
    assert (build["sha"], build["stack"], build["procfile"]) == (SHA, "buildpack", PROCFILE)


@pytest.mark.parametrize("field", ["procfile", "dryccfile", "dockerfile", "sha"])
async def test_null_is_empty(api: Api, builder: OldBuilder, ana: Person, field: str) -> None:
    app = await api.create(f"old-null-{field}")
    version = await builder.release("ana", app, **{field: None})
    release = await api.settled(app)
    assert (release["version"], release["state"]) == (version, "succeed")
    build = (await ana.client.get(f"/v2/apps/{app}/build/")).json()
    assert build[field] in ("", {}, None)


async def test_everything_null_runs_the_image_as_web(api: Api, builder: OldBuilder) -> None:
    await api.create("old-nulls")
    await builder.release("ana", "old-nulls", procfile=None, dryccfile=None, dockerfile=None)
    assert (await api.settled("old-nulls"))["deployed_ptypes"] == ["web"]


async def test_a_dockerfile_of_the_container_stack(api: Api, builder: OldBuilder, ana: Person) -> None:
    await api.create("old-docker")
    dockerfile = "FROM debian:12\nCMD ./serve\n"
    await builder.release("ana", "old-docker", stack="container", dockerfile=dockerfile, procfile={})
    assert (await api.settled("old-docker"))["state"] == "succeed"
    build = (await ana.client.get("/v2/apps/old-docker/build/")).json()
    assert (build["stack"], build["dockerfile"]) == ("container", dockerfile.strip())


async def test_a_dryccfile_brings_config_and_pipelines(api: Api, builder: OldBuilder, ana: Person) -> None:
    await api.create("old-drycc")
    dryccfile = {
        "config": {"global": {"MODE": "test"}},
        "pipeline": {"web.yaml": {"kind": "pipeline", "ptype": "web", "deploy": {"command": ["./serve"]}}},
    }
    await builder.release("ana", "old-drycc", procfile={}, dryccfile=dryccfile)
    assert (await api.settled("old-drycc"))["deployed_ptypes"] == ["web"]
    assert await builder.config("ana", "old-drycc") == {"MODE": "test"}
    (web,) = running(api, "old-drycc").processes
    assert web.command == ("./serve",)


async def test_without_autodeploy_the_release_waits(api: Api, builder: OldBuilder, ana: Person) -> None:
    await api.create("old-waits")
    await api.build("old-waits")
    changed = await ana.client.post("/v2/apps/old-waits/settings/", json={"autodeploy": False})
    assert changed.status_code == 201
    before = running(api, "old-waits").processes

    assert await builder.release("ana", "old-waits") == 3
    release = (await ana.client.get("/v2/apps/old-waits/releases/v3/")).json()
    assert release["state"] == "created"
    assert running(api, "old-waits").processes == before

    deployed = await ana.client.post("/v2/apps/old-waits/releases/deploy/", json={})
    assert deployed.status_code in (201, 204), deployed.text
    assert (await api.settled("old-waits"))["version"] == 3
    assert {each.image for each in running(api, "old-waits").processes} != {each.image for each in before}


async def test_a_release_during_a_rollout_is_told_its_own_number(api: Api, builder: OldBuilder) -> None:
    await api.create("old-busy")
    api.engine.hold("old-busy", "web")
    assert await builder.release("ana", "old-busy") == 2
    await eventually(lambda: api.engine.spec("old-busy") is not None)
    second = "registry.example.org/old-busy/old-busy:git-ffffffff"
    assert await builder.release("ana", "old-busy", sha="ffffffff", image=second) == 3
    api.engine.let_go("old-busy", "web")

    async def is_there() -> bool:
        release = await api.settled("old-busy")
        return (release["version"], release["state"]) == (3, "succeed")

    await eventually(is_there)
    assert {each.image for each in running(api, "old-busy").processes} == {second}


async def test_releases_at_the_same_time_have_numbers_of_their_own(api: Api, builder: OldBuilder) -> None:
    await api.create("old-many")
    versions = await asyncio.gather(*(builder.release("ana", "old-many", sha=f"{each}" * 8) for each in range(4)))
    assert sorted(versions) == [2, 3, 4, 5]


async def test_a_key_that_nobody_has(builder: OldBuilder) -> None:
    with pytest.raises(SdkError, match="No Key matches the given query"):
        await builder.login(base64.b64encode(b"another").decode())


@pytest.mark.parametrize("call", ["config", "release"])
async def test_who_may_not_push(api: Api, builder: OldBuilder, bo: Person, call: str) -> None:
    app = await api.create(f"old-mine-{call}")
    with pytest.raises(SdkError, match="you do not have permission to perform this action"):
        await getattr(builder, call)("bo", app)
    with pytest.raises(SdkError, match="No App matches the given query"):
        await getattr(builder, call)("ana", "nowhere")
    with pytest.raises(SdkError, match="No User matches the given query"):
        await getattr(builder, call)("zoe", app)
    await api.grant(app, "bo", "change")
    await getattr(builder, call)("bo", app)


@pytest.mark.parametrize("key", ["wrong", ""])
async def test_another_key_of_the_builder(api: Api, key: str) -> None:
    async with builder_at(api, key) as builder:
        for asking in (builder.login(BLOB), builder.config("ana", "x"), builder.release("ana", "x")):
            with pytest.raises(SdkError, match="Unauthorized: Missing or Invalid Token"):
                await asking


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"procfile": {"web": ""}}, "Command can't be empty for process type"),
        ({"procfile": {"WEB": "x"}}, "Process types can only supports"),
        ({"image": ""}, "image"),
        ({"dryccfile": {"pipeline": {"web.yaml": {"kind": "pipeline"}}}}, "could not validate"),
        ({"sha": "0" * 41}, "sha"),
    ],
)
async def test_a_build_that_makes_no_sense(
    api: Api, builder: OldBuilder, ana: Person, facts: dict[str, Any], words: str
) -> None:
    app = "old-bad"
    if (await ana.client.get(f"/v2/apps/{app}/")).status_code == 404:
        await api.create(app)
    with pytest.raises(SdkError, match=r"Unknown Error \(400\)") as told:
        await builder.release("ana", app, **facts)
    assert words in str(told.value)
    assert (await ana.client.get(f"/v2/apps/{app}/releases/")).json()["count"] == 1


async def test_a_method_that_hooks_do_not_have(builder: OldBuilder) -> None:
    with pytest.raises(SdkError, match="Method Not Allowed"):
        await builder.ask("GET", "/v2/hooks/build/")


async def test_a_conflict_is_told_in_the_controllers_words(make_database: MakeDatabase) -> None:
    url = await make_database("controller")
    async with running_api(url, deploy_reject_if_procfile_missing=True) as api, builder_at(api) as builder:
        await api.create("old-without")
        await builder.release("ana", "old-without")
        with pytest.raises(SdkError, match="Last deployment had a Procfile but is missing in this deploy"):
            await builder.release("ana", "old-without", procfile={}, sha="ffffffff")
