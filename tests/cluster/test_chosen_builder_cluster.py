"""Apps that choose their builder image: pushed by real git, built by its own programs, run on its run image."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from builder.ssh.hostkeys import load_host_keys
from cluster.test_builder_cluster import Builders, image_of, is_in_registry, left_behind, pushed
from support import eventually
from support.builder_cluster import BuildPlace, build_images, build_place
from support.chosen_builder import REPOSITORY, chosen_builder
from support.cluster_image import REGISTRY, REGISTRY_OF_PODS
from support.fixtures import MakeDatabase
from support.kubectl import Kubectl
from support.kubectl import eventually as wait_for

pytestmark = pytest.mark.timeout(2400)  # the first one makes the images that builds need
ALLOWED: Final[dict[str, Any]] = {
    "builder_images": [f"{REGISTRY_OF_PODS}/{REPOSITORY}"],
    # The builder of this test runs on the machine, which knows the registry by another name.
    "registry_mirrors": {REGISTRY_OF_PODS: REGISTRY},
    "insecure_registries": [REGISTRY_OF_PODS, REGISTRY],
}


@pytest.fixture
def place(tmp_path: Path, kubectl: Kubectl) -> Iterator[BuildPlace]:
    with build_place(kubectl, tmp_path) as made:
        yield made


@pytest_asyncio.fixture
async def builders(tmp_path: Path, place: BuildPlace, kubectl: Kubectl, make_database: MakeDatabase) -> Builders:
    load_host_keys(tmp_path / "ssh")
    images = await asyncio.to_thread(build_images)
    return Builders(tmp_path, await make_database("builder"), place, kubectl, images)


async def test_an_app_is_built_by_the_image_that_it_chose_and_runs(builders: Builders) -> None:
    image = await asyncio.to_thread(chosen_builder)
    app = f"hi-{uuid4().hex[:8]}"
    async with builders.started(**ALLOWED) as world:
        files: dict[str, str | bytes] = {
            ".packbuilder": f"{image}\n",
            ".build-arg": "GREETING='good day'\n",
            "hello.txt": "hello",
            "go.mod": "module x\n",  # no language that our own buildpacks know
        }
        outcome = await pushed(world, app, files)
        assert outcome.status == 0, outcome.output
        assert f"---> Building with {image}, as .packbuilder asks" in outcome.output
        assert "hello from the builder of somebody else" in outcome.output
        built = image_of(world)
        assert is_in_registry(built)
        assert await asyncio.to_thread(answer_of, builders, built) == "hello, good day, built by 1234"
        files["hello.txt"] = "hello again"
        again = await pushed(world, app, files)
        assert again.status == 0, again.output
        assert "Restored from the cache: acme/hello:site" in again.output
        assert "the layer is back" in again.output
    await eventually(lambda: _nothing_left(builders), timeout=30)


async def test_an_image_that_is_not_allowed_declines_the_push_at_once(builders: Builders) -> None:
    async with builders.started() as world:
        outcome = await pushed(world, "shop", {".packbuilder": "evil/builder:1\n", "Procfile": "web: x\n"})
        assert outcome.status == 1
        assert "docker.io/evil/builder:1, which this platform does not allow" in outcome.output
        assert "BUILDER_BUILDER_IMAGES" in outcome.output
        assert not [name for name in world.event_types() if name.startswith("build.")]
    assert await left_behind(builders) == []


async def test_what_the_chosen_image_does_not_recognise_is_told(builders: Builders) -> None:
    image = await asyncio.to_thread(chosen_builder)
    async with builders.started(**ALLOWED) as world:
        outcome = await pushed(world, "shop", {"project.toml": f'[io.buildpacks]\nbuilder = "{image}"\n'})
        assert outcome.status == 1
        assert "Build failed (nothing-recognised): no buildpack of the builder image fits" in outcome.output


def answer_of(builders: Builders, image: str) -> str:
    """What the app says, started as the image says itself."""
    namespace, name = builders.place.namespace, f"app-{uuid4().hex[:8]}"
    container = {
        "name": "app",
        "image": image,
        "env": [{"name": "PORT", "value": "5000"}],
        "resources": {"limits": {"memory": "64Mi"}},
    }
    spec = {"containers": [container], "automountServiceAccountToken": False, "terminationGracePeriodSeconds": 0}
    metadata = {"name": name, "namespace": namespace}
    builders.kubectl.apply([{"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}])

    def ask() -> str:
        pod = builders.kubectl.get("pod", name, "-n", namespace)
        assert pod["status"].get("podIP")
        try:
            answer = httpx.get(f"http://{pod['status']['podIP']}:5000/", timeout=5, trust_env=False)
        except httpx.HTTPError as error:
            raise AssertionError(str(error)) from error
        assert answer.is_success
        return answer.text.strip()

    return wait_for(ask)


async def _nothing_left(builders: Builders) -> bool:
    return await left_behind(builders) == []
