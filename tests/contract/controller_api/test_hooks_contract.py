"""What builders ask."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from support.controller_api import BUILDER_KEY, PROCFILE, Api, Person

BLOB = base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + b"h" * 32).decode()
SHA256 = "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(BLOB)).digest()).decode().rstrip("=")


@pytest_asyncio.fixture(loop_scope="session")
async def builder(api: Api) -> AsyncIterator[httpx.AsyncClient]:
    """A builder that knows the key."""
    async with api.client(x_drycc_builder_auth=BUILDER_KEY) as client:
        yield client


async def test_credentials_of_builders(api: Api, ana: Person) -> None:
    path = "/v2/hooks/keys/nowhere/"
    anonymous = await api.anonymous.get(path, headers={"X-Drycc-Builder-Auth": "wrong"})
    assert anonymous.status_code == 401
    empty = await api.anonymous.get(path, headers={"X-Drycc-Builder-Auth": ""})
    assert empty.status_code == 401
    person = await ana.client.get(path, headers={"X-Drycc-Builder-Auth": "wrong"})
    assert person.status_code == 403
    bad_token = {"X-Drycc-Builder-Auth": BUILDER_KEY, "Authorization": "token nope"}
    assert (await api.anonymous.get(path, headers=bad_token)).status_code == 401
    good = await api.anonymous.get(path, headers={"X-Drycc-Builder-Auth": BUILDER_KEY})
    assert (good.status_code, good.json()) == (404, "No App matches the given query.")


async def test_who_has_that_key(api: Api, builder: httpx.AsyncClient, bo: Person) -> None:
    await api.create("hook-mine", "bo")
    await api.create("hook-shared")
    await api.create("hook-seen")
    await api.grant("hook-shared", "bo", "change")
    await api.grant("hook-seen", "bo", "view")
    key = await bo.client.post("/v2/keys/", json={"id": "hooks", "public": f"ssh-ed25519 {BLOB} bo"})
    for fingerprint in (SHA256, key.json()["fingerprint"], key.json()["fingerprint"].upper()):
        found = await builder.get(f"/v2/hooks/key/{fingerprint}")
        assert found.json() == {"username": "bo", "apps": ["hook-mine", "hook-shared"]}
    unknown = await builder.get("/v2/hooks/key/SHA256:nope")
    assert (unknown.status_code, unknown.json()) == (404, "No Key matches the given query.")
    assert (await builder.get(f"/v2/hooks/key/{SHA256}/")).status_code == 404
    viewers = await builder.get("/v2/hooks/keys/hook-seen/")
    assert viewers.json() == {"bo": [{"key": f"ssh-ed25519 {BLOB} bo", "fingerprint": key.json()["fingerprint"]}]}
    assert (await builder.get("/v2/hooks/keys/hook-seen/bo/")).json() == viewers.json()
    none = await builder.get("/v2/hooks/keys/hook-seen/ana/")
    assert (none.status_code, none.json()) == (404, "No Keys match the given query.")
    hidden = await builder.get("/v2/hooks/keys/hook-mine/ana/")
    assert hidden.status_code == 403
    assert hidden.json() == "hook-mine object does not exist or does not have permission."


async def test_config_for_a_push(api: Api, builder: httpx.AsyncClient, ana: Person, bo: Person) -> None:
    await api.create("hook-config")
    allowed = await builder.post("/v2/hooks/config/", json={"receive_user": "ana", "receive_repo": "hook-config"})
    assert (allowed.status_code, allowed.json()["app"]) == (200, "hook-config")
    refused = await builder.post("/v2/hooks/config/", json={"receive_user": "bo", "receive_repo": "hook-config"})
    assert refused.status_code == 403
    assert refused.json() == "hook-config object does not exist or does not have permission."
    no_app = await builder.post("/v2/hooks/config/", json={"receive_user": "ana", "receive_repo": "nowhere"})
    assert (no_app.status_code, no_app.json()) == (404, "No App matches the given query.")
    nobody = await builder.post("/v2/hooks/config/", json={"receive_user": "zoe", "receive_repo": "hook-config"})
    assert (nobody.status_code, nobody.json()) == (404, "No User matches the given query.")


@pytest.mark.parametrize("missing", ["receive_user", "receive_repo"])
async def test_incomplete_requests(api: Api, builder: httpx.AsyncClient, missing: str) -> None:
    body = {"receive_user": "ana", "receive_repo": "hook-config"}
    del body[missing]
    response = await builder.post("/v2/hooks/config/", json=body)
    assert (response.status_code, response.json()) == (400, {missing: ["This field is required."]})


async def test_a_finished_build(api: Api, builder: httpx.AsyncClient, ana: Person) -> None:
    await api.create("hook-build")
    body: dict[str, Any] = {
        "receive_user": "ana",
        "receive_repo": "hook-build",
        "image": "127.0.0.1:5555/hook-build:git-1",
        "stack": "heroku-18",
        "sha": "0123456789abcdef",
        "procfile": PROCFILE,
        "dryccfile": None,
        "dockerfile": "",
    }
    done = await builder.post("/v2/hooks/build/", json=body)
    assert (done.status_code, done.json()) == (200, {"release": {"version": 2}})
    release = await api.settled("hook-build")
    assert release["summary"] == "ana deployed 0123456"
