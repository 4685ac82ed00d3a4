"""Builds of a real cluster push to a registry that trusts the builder, each with credentials for itself only."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from builder.runner.kubernetes.tokens import registry_password
from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.world import World, commit, open_world
from shared.events import BuildSucceeded
from support import eventually
from support.build_source import address_of_machine
from support.builder_cluster import BuildPlace, build_images, build_place, build_settings
from support.cluster_image import REGISTRY_OF_PODS
from support.fixtures import MakeDatabase
from support.http import reachable
from support.kubectl import Kubectl
from support.registry_server import registry_server
from support.registry_tokens import (
    BUILD_KEY,
    MACHINE,
    OPERATOR,
    RegistryClient,
    signing_pair,
    token_auth,
    token_settings,
)
from support.tools import free_port

pytestmark = pytest.mark.timeout(2400)  # the first one makes the images that builds need
SECONDS: Final = 300.0
DOCKERFILE: Final = f"FROM busybox:1\nRUN echo {uuid4()} > /built && sleep 8\nCMD cat /built\n"
PYTHON: Final = {"requirements.txt": "", "Procfile": "web: python -m http.server $PORT\n", "app.py": ""}


@dataclass
class Registry:
    """A builder whose builds push to the registry at `host`."""

    world: World
    host: str
    place: BuildPlace
    kubectl: Kubectl

    async def push(self, app: str, files: dict[str, str | bytes]) -> str:
        """Push an app; the image that the builder says it has made."""
        key = self.world.add_user("ana", app)
        await commit(self.world.path / app, files)
        outcome = await self.world.push(key, self.world.path / app, app, seconds=SECONDS)
        assert outcome.status == 0, outcome.output
        (event,) = [one.unwrap() for one in self.world.events if one.routing_key == "build.succeeded"]
        assert isinstance(event, BuildSucceeded)
        return event.image

    def split(self, image: str) -> tuple[str, str]:
        """Repository and digest of an image in it."""
        name, _, digest = image.removeprefix(f"{self.host}/").partition("@")
        return name, digest

    async def secrets(self) -> list[dict[str, str]]:
        """What the Secrets of builds hold now."""
        found = await asyncio.to_thread(self.kubectl.get, "secrets", "-n", self.place.namespace)
        return [{key: b64decode(value).decode() for key, value in one["data"].items()} for one in found["items"]]

    async def tags(self, name: str) -> list[str]:
        answer = await RegistryClient(self.host, *MACHINE).ask("GET", f"/v2/{name}/tags/list")
        assert answer.status_code == httpx.codes.OK, answer.text
        tags: list[str] = answer.json()["tags"]
        return tags


@pytest.fixture
def build_namespace(tmp_path: Path, kubectl: Kubectl) -> Iterator[BuildPlace]:
    with build_place(kubectl, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def registry(
    tmp_path: Path,
    build_namespace: BuildPlace,
    kubectl: Kubectl,
    make_database: MakeDatabase,
    request: pytest.FixtureRequest,
) -> AsyncIterator[Registry]:
    """Its parameter is an organization."""
    load_host_keys(tmp_path / "ssh")
    images = await asyncio.to_thread(build_images)
    port, address, pair = free_port(), address_of_machine(), signing_pair()
    auth = token_auth(tmp_path, pair, builder=f"http://{address}:{port}")
    async with AsyncExitStack() as stack:
        server = registry_server(tmp_path / "registry", host=address, port=free_port(address), auth=auth)
        host = stack.enter_context(server)
        settings: dict[str, Any] = {
            **build_settings(build_namespace, images, storage=tmp_path / "storage", port=port),
            **token_settings(pair),
            "registry": host,
            "registry_organization": getattr(request, "param", ""),
            "insecure_registries": [REGISTRY_OF_PODS, host],
        }
        world = await stack.enter_async_context(
            open_world(tmp_path, await make_database("builder"), is_scripted=False, **settings)
        )
        await stack.enter_async_context(reachable(world.app, host="0.0.0.0", port=port))
        yield Registry(world, host, build_namespace, kubectl)


def account_in(secret: dict[str, str], host: str) -> tuple[str, str]:
    """The one account that a build was given."""
    auths = json.loads(secret["registry"])["auths"]
    assert list(auths) == [host]
    username, _, password = b64decode(auths[host]["auth"]).decode().partition(":")
    return username, password


async def test_a_dockerfile_is_pushed_with_the_account_of_its_build(registry: Registry) -> None:
    pushing = asyncio.create_task(registry.push("shop", {"Dockerfile": DOCKERFILE}))
    await eventually(registry.secrets, timeout=120)
    (secret,) = await registry.secrets()
    username, password = account_in(secret, registry.host)
    build_id = UUID(username)
    assert password == registry_password(BUILD_KEY, build_id)
    assert str((await registry.world.context.records.get(build_id)).id) == json.loads(secret["request"])["build_id"]
    assert not any(OPERATOR[1] in value or MACHINE[1] in value for value in secret.values())
    build = RegistryClient(registry.host, username, password)
    assert await build.push("pie/pie") == 401
    assert await build.push("shop/shop", "by-hand") == 201

    name, digest = registry.split(await pushing)
    assert name == "shop/shop"
    assert await RegistryClient(registry.host, *MACHINE).pull(name, digest) == 200
    assert await registry.tags("shop/cache")
    assert await build.push("shop/shop", "by-hand") == 401


@pytest.mark.parametrize(
    ("registry", "image", "cache"),
    [("", "pie/pie", "pie/cache"), ("my/team", "my/team/pie", "my/team/pie.cache")],
    indirect=["registry"],
    ids=["", "organization"],
)
async def test_buildpacks_push_with_the_account_of_their_build(registry: Registry, image: str, cache: str) -> None:
    name, digest = registry.split(await registry.push("pie", dict(PYTHON)))
    assert name == image
    assert await RegistryClient(registry.host, *MACHINE).pull(name, digest) == 200
    assert await registry.tags(cache) == ["buildpack"]


@pytest.mark.parametrize("registry", ["my/team"], indirect=True)
async def test_a_dockerfile_is_pushed_below_an_organization(registry: Registry) -> None:
    name, digest = registry.split(await registry.push("shop", {"Dockerfile": DOCKERFILE}))
    assert name == "my/team/shop"
    assert await RegistryClient(registry.host, *MACHINE).pull(name, digest) == 200
    assert await registry.tags("my/team/shop.cache")
