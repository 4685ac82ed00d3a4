"""The builder with real git in front of it and a real cluster behind it: pushes become Jobs, and Jobs images."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
import uvicorn
from pydantic import SecretStr

from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.far_side import FarSide
from integration.builder_ssh.world import Outcome, World, commit, open_world
from shared.events import BuildSucceeded
from support import eventually
from support.build_source import address_of_machine
from support.buildpack_images import builder_image, run_image
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.fixtures import MakeDatabase
from support.imagebuilder_image import imagebuilder_image
from support.kubectl import Kubectl
from support.tools import free_port

pytestmark = pytest.mark.timeout(2400)  # the first one makes the images that builds need
SECONDS: Final = 300.0
DOCKERFILE: Final = "FROM busybox:1\nRUN echo built > /built && sleep 3 && echo after the sleep\nCMD cat /built\n"
PYTHON: Final = {
    "requirements.txt": "is-odd-or-even==0.0.1\n",
    "Procfile": "web: python -m http.server $PORT\n",
    "app.py": "",
}


@dataclass
class Builders:
    """Starts one builder after the other on the same volume, database and cluster."""

    path: Path
    database_url: str
    namespace: str
    kubectl: Kubectl
    images: dict[str, str]
    far_side: FarSide = field(default_factory=FarSide)

    @asynccontextmanager
    async def started(self) -> AsyncIterator[World]:
        port = free_port()
        settings: dict[str, Any] = {
            "runner": "kubernetes",
            "kubeconfig": Path(os.environ["KUBECONFIG"]),
            "build_namespace": self.namespace,
            "registry": REGISTRY_OF_PODS,
            "insecure_registries": [REGISTRY_OF_PODS],
            "registry_mirrors": {"docker.io": REGISTRY_OF_PODS},
            **self.images,
            "source_url": f"http://{address_of_machine()}:{port}",
            "source_token_key": SecretStr("k" * 32),
            "storage_url": f"file://{self.path / 'storage'}",
            "build_memory_limit": "1Gi",
        }
        (self.path / "storage").mkdir(exist_ok=True)
        async with open_world(
            self.path, self.database_url, is_scripted=False, far_side=self.far_side, **settings
        ) as world:
            server = uvicorn.Server(
                uvicorn.Config(world.app, host="0.0.0.0", port=port, lifespan="off", log_config=None)
            )
            serving = asyncio.create_task(server.serve())
            try:
                await eventually(lambda: server.started)
                yield world
            finally:
                server.should_exit = True
                await serving


@pytest.fixture(scope="module")
def images(kubectl: Kubectl) -> dict[str, str]:
    """What builds run, as settings of the builder."""
    return {"imagebuilder_image": imagebuilder_image(), "builder_image": builder_image(), "run_image": run_image()}


@pytest.fixture
def namespace(kubectl: Kubectl) -> Iterator[str]:
    name = f"hi-builds-{uuid4().hex[:8]}"
    kubectl("create", "namespace", name)
    yield name
    kubectl("delete", "namespace", name, "--wait=false")


@pytest_asyncio.fixture
async def builders(
    tmp_path: Path, namespace: str, kubectl: Kubectl, images: dict[str, str], make_database: MakeDatabase
) -> Builders:
    load_host_keys(tmp_path / "ssh")
    return Builders(tmp_path, await make_database("builder"), namespace, kubectl, images)


async def pushed(world: World, app: str, files: dict[str, str | bytes]) -> Outcome:
    key = world.add_user("ana", app)
    await commit(world.path / app, files)
    return await world.push(key, world.path / app, app, seconds=SECONDS)


def image_of(world: World) -> str:
    (event,) = [one.unwrap() for one in world.events if one.routing_key == "build.succeeded"]
    assert isinstance(event, BuildSucceeded)
    return event.image


def is_in_registry(image: str) -> bool:
    name, _, digest = image.removeprefix(f"{REGISTRY_OF_PODS}/").partition("@")
    accept = {
        "Accept": "application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json"
    }
    url = f"http://{REGISTRY}/v2/{name}/manifests/{digest}"
    return httpx.head(url, headers=accept, trust_env=False).status_code == httpx.codes.OK


async def left_behind(builders: Builders) -> list[str]:
    found = await asyncio.to_thread(builders.kubectl.get, "jobs,secrets", "-n", builders.namespace)
    objects = [f"{one['kind']}/{one['metadata']['name']}" for one in found["items"]]
    return objects + [str(path) for path in (builders.path / "storage").rglob("*") if path.is_file()]


async def test_a_dockerfile_is_built_in_a_job_and_lands_in_the_registry(builders: Builders) -> None:
    async with builders.started() as world:
        word = uuid4().hex
        outcome = await pushed(world, "shop", {"Dockerfile": f"{DOCKERFILE}RUN echo {word} | rev\n"})
        assert outcome.status == 0, outcome.output
        assert word[::-1] in outcome.output
        assert "shop:v2 deployed to Workflow" in outcome.output
        image = image_of(world)
        assert image.startswith(f"{REGISTRY_OF_PODS}/shop/shop@sha256:")
        assert is_in_registry(image)
    await eventually(lambda: _nothing_left(builders), timeout=30)


async def test_an_app_without_a_dockerfile_is_built_by_buildpacks(builders: Builders) -> None:
    builders.far_side.values = [{"name": name, "value": "/nowhere", "group": "global"} for name in ("PATH", "PLACE")]
    async with builders.started() as world:
        outcome = await pushed(world, "pie", {**PYTHON, "requirements.txt": ""})
        assert outcome.status == 0, outcome.output
        assert (
            "Not given to the build, because it needs its own: PATH " in outcome.output
        )  # git fills lines with blanks
        assert is_in_registry(image_of(world))


async def test_a_failing_build_says_why_and_leaves_nothing(builders: Builders) -> None:
    async with builders.started() as world:
        outcome = await pushed(world, "shop", {"Dockerfile": "FROM busybox:1\nRUN echo about to fail && exit 7\n"})
        assert outcome.status == 1
        assert "about to fail" in outcome.output
        assert "Build failed (build-failed)" in outcome.output
        async with world.http() as client:  # whose token is good for all else
            assert (await client.get(f"/builds/{uuid4()}/source")).status_code == 403
    await eventually(lambda: _nothing_left(builders), timeout=30)


async def test_a_build_outlives_the_builder(builders: Builders) -> None:
    slow = DOCKERFILE.replace("sleep 3", f"sleep 20 && echo {uuid4()}")  # no cache has it
    async with builders.started() as world:
        pushing = asyncio.create_task(pushed(world, "shop", {"Dockerfile": slow}))
        logs = world.settings.build_logs / "shop"
        await eventually(lambda: any("RUN echo built" in one.read_text() for one in logs.glob("*.log")), timeout=120)
    assert (await pushing).status != 0
    async with builders.started() as world:
        await eventually(lambda: "build.succeeded" in world.event_types(), timeout=180)
        assert is_in_registry(image_of(world))
        (log,) = logs.glob("*.log")
        lines = [line.strip() for line in log.read_text().splitlines()]
        assert lines.count("after the sleep") == 1, "\n".join(lines)
        assert sum("RUN echo built" in line for line in lines) == 1
    await eventually(lambda: _nothing_left(builders), timeout=30)


async def _nothing_left(builders: Builders) -> bool:
    return await left_behind(builders) == []
