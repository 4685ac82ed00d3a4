"""What is away while a build runs in the cluster: the build goes on, its output is whole, and who waits is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import uuid4

import pytest
import pytest_asyncio
from pydantic import SecretStr

from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.world import Outcome, World, commit, open_world
from support import eventually
from support.builder_cluster import BuildPlace, build_images, build_place, build_settings
from support.fixtures import MakeDatabase
from support.http import reachable
from support.kubectl import Kubectl
from support.s3_server import ACCESS_KEY, SECRET_KEY, S3Server, running_s3
from support.tcp_proxy import TcpProxy, proxied
from support.tools import free_port

pytestmark = pytest.mark.timeout(2400)  # the first one makes the images that builds need
SECONDS: Final = 300.0
AWAY: Final = "The cluster does not answer"
BACK: Final = "The cluster answers again"
BUCKET: Final = "sources"


@dataclass
class Place:
    """A builder whose line to the API server can be cut, and those who look past it."""

    world: World
    line: TcpProxy
    kubectl: Kubectl
    namespace: str

    async def pushed(self, files: dict[str, str | bytes]) -> Outcome:
        key = self.world.path / "key-ana"
        if not key.exists():
            self.world.add_user("ana", "shop")
        await commit(self.world.path / "app", files)
        return await self.world.push(key, self.world.path / "app", "shop", seconds=SECONDS)

    def log(self) -> str:
        """What the builds have said so far."""
        return "".join(path.read_text() for path in (self.world.settings.build_logs / "shop").glob("*.log"))

    async def jobs(self) -> set[str]:
        """Names of the Jobs."""
        found = await asyncio.to_thread(self.kubectl.get, "jobs", "-n", self.namespace)
        return {one["metadata"]["name"] for one in found["items"]}

    async def has_ended(self) -> bool:
        """Whether the build's pod has."""
        found = await asyncio.to_thread(self.kubectl.get, "pods", "-n", self.namespace)
        return any(pod["status"]["phase"] in ("Succeeded", "Failed") for pod in found["items"])

    async def is_clean(self) -> bool:
        """Nothing is left but logs and images."""
        found = await asyncio.to_thread(self.kubectl.get, "jobs,secrets,pods", "-n", self.namespace)
        return not found["items"]


@pytest.fixture(scope="module")
def images(kubectl: Kubectl) -> dict[str, str]:
    """What builds run, as settings of the builder."""
    return build_images()


@pytest.fixture
def made(tmp_path: Path, kubectl: Kubectl) -> Iterator[BuildPlace]:
    """Where builds run, and the builder's rights there."""
    with build_place(kubectl, tmp_path) as place:
        yield place


@asynccontextmanager
async def builder(
    path: Path, made: BuildPlace, url: str, images: dict[str, str], **settings: object
) -> AsyncIterator[tuple[World, TcpProxy]]:
    load_host_keys(path / "ssh")
    port = free_port()
    async with proxied(made.kubeconfig, path) as (line, kubeconfig):
        there = replace(made, kubeconfig=kubeconfig)
        facts = build_settings(there, images, storage=path / "storage", port=port) | settings
        async with (
            open_world(path, url, is_scripted=False, **facts) as world,
            reachable(world.app, host="0.0.0.0", port=port),
        ):
            try:
                yield world, line
            finally:
                if not line.is_open:
                    await line.open()


@pytest_asyncio.fixture
async def place(
    tmp_path: Path, made: BuildPlace, kubectl: Kubectl, images: dict[str, str], make_database: MakeDatabase
) -> AsyncIterator[Place]:
    """One whose storage is a directory."""
    async with builder(tmp_path, made, await make_database("builder"), images) as (world, line):
        yield Place(world, line, kubectl, made.namespace)


def dockerfile(*, lines: int, pause: str = "0.1") -> dict[str, str | bytes]:
    """A build that counts, at its own pace, and that no cache has."""
    count = f'for number in $(seq {lines}); do echo "counted $number."; sleep {pause}; done'
    return {"Dockerfile": f"FROM busybox:1\nRUN echo {uuid4()} && {count}\nCMD true\n"}


def is_whole(text: str, *, lines: int) -> None:
    """Every line once, in order."""
    counted = [part.split(".")[0] for part in text.split("counted ")[1:] if part[:1].isdigit()]
    assert counted == [str(number + 1) for number in range(lines)], text


async def test_an_api_server_away_before_the_job_while_it_waits_and_while_it_speaks(place: Place) -> None:
    """Cut three times during one build, in all its phases but the last."""
    lines = 150
    await place.line.cut()
    pushing = asyncio.create_task(place.pushed(dockerfile(lines=lines)))
    await eventually(lambda: AWAY in place.log(), timeout=60)
    assert await place.jobs() == set()
    await place.line.open()
    await eventually(place.jobs, timeout=30)
    await place.line.cut()
    jobs = await place.jobs()
    await eventually(lambda: place.log().count(AWAY) == 2, timeout=30)
    await place.line.open()
    await eventually(lambda: place.log().count(BACK) == 2 and "counted 5." in place.log(), timeout=120)
    await place.line.cut()
    await asyncio.sleep(8)
    assert not pushing.done()
    await place.line.open()
    outcome = await pushing
    assert outcome.status == 0, outcome.output
    is_whole(outcome.output, lines=lines)
    is_whole(place.log(), lines=lines)
    assert (outcome.output.count(AWAY), outcome.output.count(BACK)) == (3, 3)
    assert len(jobs) == 1
    await eventually(place.is_clean, timeout=30)
    kinds = [one.routing_key for one in place.world.events]
    assert kinds.count("build.started") == kinds.count("build.succeeded") == 1


async def test_an_api_server_away_when_the_build_ends(place: Place) -> None:
    """For as long as it takes to end, and 10 s."""
    lines = 20
    pushing = asyncio.create_task(place.pushed(dockerfile(lines=lines)))
    await eventually(lambda: "counted 3." in place.log(), timeout=120)
    await place.line.cut()
    await eventually(place.has_ended, timeout=60)
    await asyncio.sleep(10)
    assert not pushing.done()
    await place.line.open()
    outcome = await pushing
    assert outcome.status == 0, outcome.output
    is_whole(outcome.output, lines=lines)
    assert (outcome.output.count(AWAY), outcome.output.count(BACK)) == (1, 1)
    assert "shop:v2 deployed to Workflow" in outcome.output
    await eventually(place.is_clean, timeout=30)


async def test_a_build_that_is_cancelled_while_the_api_server_is_away_is_ended_later(place: Place) -> None:
    pushing = asyncio.create_task(place.pushed(dockerfile(lines=1, pause="1000")))
    await eventually(lambda: "counted 1." in place.log(), timeout=120)
    await place.line.cut()
    cancelling = await place.world.push(
        place.world.path / "key-ana", place.world.path / "app", "shop", options=("-o", "cancel")
    )
    assert "Cancelled: build 1 of ana" in cancelling.output
    outcome = await pushing
    assert "Build cancelled (cancelled)" in outcome.output
    await asyncio.sleep(16)  # longer than one call tries
    assert not await place.is_clean()
    await place.line.open()
    await eventually(place.is_clean, timeout=40)


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Object storage."""
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as server:
        yield server


@pytest_asyncio.fixture
async def start(make_database: MakeDatabase, s3: S3Server) -> tuple[str, S3Server]:
    """A database and the storage of a builder."""
    return await make_database("builder"), s3


async def test_storage_away_when_the_source_is_stored_and_when_it_is_fetched(
    tmp_path: Path,
    made: BuildPlace,
    kubectl: Kubectl,
    images: dict[str, str],
    start: tuple[str, S3Server],
) -> None:
    url, s3 = start
    storage = TcpProxy("127.0.0.1", s3.port)
    await storage.open()
    settings = {
        "storage_url": f"s3://{BUCKET}/builds",
        "storage_endpoint": f"http://127.0.0.1:{storage.port}",
        "storage_access_key": SecretStr(ACCESS_KEY),
        "storage_secret_key": SecretStr(SECRET_KEY),
        "storage_timeout": timedelta(seconds=2),
        "storage_patience": timedelta(seconds=1),
    }
    async with builder(tmp_path, made, url, images, **settings) as (world, line):
        place = Place(world, line, kubectl, made.namespace)
        await storage.cut()
        outcome = await place.pushed(dockerfile(lines=1))
        assert outcome.status == 1
        assert "Build failed (storage-unavailable)" in outcome.output
        assert "Connection refused" in outcome.output
        assert SECRET_KEY not in outcome.output
        assert await place.jobs() == set()
        await storage.open()
        assert s3.objects(BUCKET) == []

        pushing = asyncio.create_task(place.pushed(dockerfile(lines=1)))
        await eventually(place.jobs, timeout=60)
        await storage.cut()
        await asyncio.sleep(12)
        assert not pushing.done()
        await storage.open()
        outcome = await pushing
        assert outcome.status == 0, outcome.output
        await eventually(lambda: s3.objects(BUCKET) == [], timeout=30)

        pushing = asyncio.create_task(place.pushed(dockerfile(lines=1)))
        await eventually(place.jobs, timeout=60)
        s3.lose(BUCKET)
        outcome = await pushing
        assert outcome.status == 1
        assert "the builder does not give out the source: 404" in outcome.output
        assert "Push again." in outcome.output
        await eventually(place.is_clean, timeout=30)
    await storage.cut()
