"""What the builder removes and what not: real pushes, a real registry, a controller that answers as tests say."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from fastapi import FastAPI, Response
from pydantic import SecretStr

from builder.background.cleaner import Cleaner
from builder.domain.builds import Build, number_after
from builder.domain.errors import ControllerUnavailableError, RegistryUnavailableError, StorageUnavailableError
from builder.domain.images import image_repository
from builder.git.repository import Repositories
from builder.registry.client import RegistryClient
from builder.registry.images import RegistryImages
from builder.repositories.products import ProductRepository
from builder.runner.kubernetes.sources import Sources
from builder.runner.port import AppConfig, BuildFailedError, BuildLimits, BuildResult, BuildSpec, Log, Plan, Tree
from builder.services.controller import BuilderKey, ControllerClient
from builder.services.removal import AppRemoval
from builder.services.retention import Retention
from builder.services.verdicts import Verdicts
from builder.ssh.hostkeys import load_host_keys
from builder.storage.archives import Archives
from builder.storage.config import StorageConfig
from integration.builder_ssh.far_side import FarSide, ScriptedRunner
from integration.builder_ssh.world import World, commit, open_world
from shared.db import uuid7
from shared.events import BuildSucceeded
from shared.http import create_client
from shared.testing.clock import FakeClock
from support import eventually, require_tool
from support.fixtures import MakeDatabase
from support.registry_images import TestedRegistry
from support.registry_server import registry_server
from support.tools import free_port

KEY = "key-of-builders"
SHA = "0" * 40
NO_APP = Response('"No App matches the given query."', status_code=404, headers={"DRYCC_API_VERSION": "2.3"})


@dataclass
class KeepingSide(FarSide):
    """A controller that says which builds are to be kept: `kept` and `images`, or `answer` for everything."""

    kept: set[UUID] = field(default_factory=set)
    images: set[str] = field(default_factory=set)
    knows_question: bool = True
    answer: Callable[[str], Response | None] = lambda _app: None
    asked: list[str] = field(default_factory=list)

    def app(self) -> FastAPI:
        app = super().app()

        @app.get("/v2/hooks/builds/{name}")
        async def builds(name: str) -> Any:
            self.asked.append(name)
            if (answer := self.answer(name)) is not None:
                return answer
            if self.is_away:
                return Response(status_code=503)
            if not self.knows_question:
                return Response("Not Found", status_code=404)
            return {"builds": [str(one) for one in self.kept], "images": sorted(self.images)}

        return app


@dataclass
class PushingRunner(ScriptedRunner):
    """Pushes two images for each build; `content` is what they depend on."""

    registry: TestedRegistry | None = None
    content: str = ""
    organization: str = ""

    async def build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        result = await super().build(source, spec, plan, log)
        assert self.registry is not None
        repository, tag = image_repository(spec.app, self.organization), f"git-{spec.number}"
        web = self.registry.push(repository, tag, self.content or str(spec.number))
        worker = self.registry.push(repository, f"{tag}-worker", f"worker {self.content or spec.number}")
        return BuildResult(web, result.stack, result.procfile, {}, "", images=(web, worker))


@dataclass
class Place:
    """A builder whose pushes end in a registry, and a cleaner on a clock of the test's."""

    world: World
    far_side: KeepingSide
    registry: TestedRegistry
    runner: PushingRunner
    retention: Retention
    cleaner: Cleaner
    removal: AppRemoval
    clock: FakeClock
    storage: Path
    key: Path
    stop_registry: Callable[[], None]
    start_registry: Callable[[], None]

    async def push(self, app: str = "shop", content: str = "") -> Build:
        self.runner.content = content
        source = self.world.path / f"source-{app}"
        await commit(source, {"Procfile": "web: ./serve\n", "file": uuid4().hex})
        outcome = await self.world.push(self.key, source, app)
        assert outcome.status == 0, outcome.output
        (build,) = await self.world.context.records.page(app=app, before=None, limit=1)
        return build  # type: ignore[no-any-return]

    def tags(self, app: str = "shop") -> list[str]:
        return self.registry.tags(f"{app}/{app}")

    def logs(self, app: str = "shop") -> set[str]:
        return {path.stem for path in (self.world.settings.build_logs / app).glob("*.log")}

    async def put_source(self, build_id: UUID, *, age: timedelta) -> Path:
        key = f"source/shop/{build_id}-{SHA}.tar.gz"
        path = self.storage / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"source")
        at = (self.clock.now() - age).timestamp()
        os.utime(path, (at, at))
        return path


@pytest_asyncio.fixture
async def place(short: Path, make_database: MakeDatabase, request: pytest.FixtureRequest) -> AsyncIterator[Place]:
    """Its parameter is the organization that images are removed from."""
    port = free_port()
    host = f"127.0.0.1:{port}"
    registry, far_side = TestedRegistry(host), KeepingSide(builder_key=KEY)
    runner = PushingRunner(short / "scratch", registry=registry)
    async with AsyncExitStack() as stack:
        switch = stack.enter_context(Switch(short / "registry", port))
        switch.start()
        world = await stack.enter_async_context(
            open_world(
                short,
                await make_database("builder"),
                scripted=runner,
                far_side=far_side,
                controller_key=SecretStr(KEY),
                clean_interval=timedelta(hours=9),
            )
        )
        url = world.settings.controller_url
        http = await stack.enter_async_context(create_client(base_url=url, auth=BuilderKey(SecretStr(KEY))))
        controller = ControllerClient(http, timeout=timedelta(seconds=5))
        plain = await stack.enter_async_context(create_client(base_url=f"http://{host}"))
        client = RegistryClient(plain, host=host, is_insecure=True, account=None)
        images = RegistryImages(client, host=host, organization=getattr(request, "param", ""))
        storage = short / "storage"
        sources = Sources(Archives(StorageConfig(f"file://{storage}")), max_bytes=1000)
        context, clock = world.context, FakeClock(datetime.now(UTC))
        repositories = Repositories(world.settings.repos)
        retention = Retention(
            database=context.database,
            clock=clock,
            runner=runner,
            logs=context.logs,
            wanted_of=controller.wanted,
            images=images,
            sources=sources,
            kept=1,
            logs_kept=1,
            cache_kept=timedelta(days=30),
        )
        removal = AppRemoval(
            builds=context.builds,
            verdicts=Verdicts(),
            records=context.records,
            repositories=repositories,
            logs=context.logs,
            runner=runner,
            images=images,
        )
        cleaner = Cleaner(
            database=context.database,
            clock=clock,
            retention=retention,
            removal=removal,
            repositories=repositories,
            logs=context.logs,
            interval=timedelta(hours=1),
        )
        key = world.add_user("ana", "shop", "pie", "tea")
        yield Place(
            world,
            far_side,
            registry,
            runner,
            retention,
            cleaner,
            removal,
            clock,
            storage,
            key,
            switch.stop,
            switch.start,
        )


class Switch:
    """A registry on one port that can be stopped and started again."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        self._running: Any = None

    def __enter__(self) -> Switch:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        self._running = registry_server(self._directory, port=self._port)
        self._running.__enter__()

    def stop(self) -> None:
        if self._running is not None:
            self._running.__exit__(None, None, None)
            self._running = None


@pytest.fixture(scope="module")
def host_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("host-keys")
    load_host_keys(directory)
    return directory


@pytest.fixture
def short(tmp_path_factory: pytest.TempPathFactory, host_keys: Path) -> Path:
    require_tool("ssh")
    require_tool("git")
    path = tmp_path_factory.mktemp("c")
    shutil.copytree(host_keys, path / "ssh")
    return path


async def test_what_can_be_rolled_back_to_stays_and_the_rest_goes(place: Place) -> None:
    builds = [await place.push() for _ in range(4)]
    place.far_side.kept = {builds[1].id}

    await place.retention.clean("shop")

    assert place.tags() == ["git-2", "git-2-worker", "git-4", "git-4-worker"]
    assert place.logs() == {str(builds[1].id), str(builds[3].id)}
    assert place.runner.discarded[-1] == ("shop", {builds[1].id, builds[3].id})
    place.far_side.kept = set()
    await place.retention.clean("shop")
    assert place.tags() == ["git-4", "git-4-worker"]
    assert len(await place.world.context.records.page(app="shop", before=None, limit=9)) == 4


@pytest.mark.parametrize("place", ["team"], indirect=True)
async def test_images_from_before_an_organization_stay_and_those_below_it_are_cleaned(place: Place) -> None:
    before = [await place.push() for _ in range(2)]
    place.runner.organization = "team"
    after = [await place.push() for _ in range(3)]
    place.far_side.kept = {before[0].id, after[1].id}

    for _ in range(2):
        assert await place.retention.clean("shop")

    assert place.tags() == ["git-1", "git-1-worker", "git-2", "git-2-worker"]
    assert place.registry.tags("team/shop") == ["git-4", "git-4-worker", "git-5", "git-5-worker"]
    async with place.world.context.database.session() as session:
        known = {one.build_id: one.images for one in await ProductRepository(session).of_app("shop")}
    assert set(known) == {before[0].id, after[1].id, after[2].id}
    assert all(
        f"/{'shop' if build == before[0].id else 'team'}/shop@" in one for build in known for one in known[build]
    )


async def test_an_image_that_a_kept_build_has_too_stays(place: Place) -> None:
    for content in ("same", "other", "same"):
        await place.push(content=content)
    await place.retention.clean("shop")
    assert place.tags() == ["git-1", "git-1-worker", "git-3", "git-3-worker"]


async def test_builds_with_ids_of_the_controllers_own_are_known_by_their_images(place: Place) -> None:
    """A controller that was told of a build by `hooks/build` gave it an id."""
    builds = [await place.push() for _ in range(3)]
    events = [one.unwrap() for one in place.world.events]
    image = next(event.image for event in events if isinstance(event, BuildSucceeded))
    place.far_side.kept, place.far_side.images = {uuid4()}, {image}
    await place.retention.clean("shop")
    assert place.tags() == ["git-1", "git-1-worker", "git-3", "git-3-worker"]
    assert str(builds[0].id) in place.logs()


async def test_a_build_of_whose_release_nothing_was_heard_stays(place: Place) -> None:
    place.world.deploys = False
    silent = await _silent(place)
    place.world.deploys = True
    await place.push()
    await place.push()
    await place.retention.clean("shop")
    assert place.tags() == ["git-1", "git-1-worker", "git-3", "git-3-worker"]
    assert str(silent) in place.logs()
    place.clock.advance(timedelta(days=8))  # it will not come any more
    await place.retention.clean("shop")
    assert place.tags() == ["git-3", "git-3-worker"]


async def test_a_controller_that_cannot_tell(place: Place) -> None:
    """What ran last stays, and the newest."""
    place.far_side.knows_question = False
    for _ in range(3):
        await place.push()
    await place.retention.clean("shop")
    assert place.tags() == ["git-3", "git-3-worker"]


@pytest.mark.parametrize(
    "answer",
    [
        Response(status_code=500),
        Response(status_code=401),
        Response(status_code=403),
        Response("default backend - 404", status_code=404, headers={"DRYCC_API_VERSION": ""}),
        Response('{"builds": ["all"]}', status_code=200),
        Response("[]", status_code=200),
        Response("<html>", status_code=200),
    ],
    ids=["500", "401", "403", "of-a-proxy", "no-ids", "no-object", "no-json"],
)
async def test_nothing_goes_on_a_doubt(place: Place, answer: Response, request: pytest.FixtureRequest) -> None:
    if request.node.callspec.id == "of-a-proxy":
        place.far_side.api_version = ""
    for _ in range(2):
        await place.push()
    place.far_side.answer = lambda _app: answer
    discarded = list(place.runner.discarded)
    with pytest.raises(ControllerUnavailableError):
        await place.retention.clean("shop")
    for _ in range(3):
        await place.cleaner.sweep()
        place.clock.advance(timedelta(hours=1))
    assert len(place.tags()) == 4
    assert len(place.logs()) == 2
    assert place.runner.discarded == discarded
    assert (place.world.settings.repos / "shop.git").exists()


async def test_with_the_registry_away_nothing_is_forgotten(place: Place) -> None:
    for _ in range(2):
        await place.push()
    place.stop_registry()
    with pytest.raises(RegistryUnavailableError):
        await place.retention.clean("shop")
    await place.retention.after_build("shop", 99)  # says so and goes on
    place.start_registry()
    assert len(place.tags()) == 4
    await place.retention.clean("shop")
    assert place.tags() == ["git-2", "git-2-worker"]


async def test_while_something_is_built_no_image_goes(place: Place) -> None:
    for _ in range(2):
        await place.push()
    running = await _requested(place)
    await place.retention.clean("shop")
    assert len(place.tags()) == 4
    await place.world.context.records.cancelled(running.build_id, "enough")
    await place.retention.clean("shop")
    assert place.tags() == ["git-2", "git-2-worker"]


async def test_source_of_ended_and_unknown_builds_goes_after_a_day(place: Place) -> None:
    build, running = await place.push(), await _requested(place)
    old, new = timedelta(hours=25), timedelta(hours=23)
    goes = [await place.put_source(one, age=old) for one in (build.id, uuid4())]
    stays = [await place.put_source(running.build_id, age=old), await place.put_source(uuid4(), age=new)]
    await place.cleaner.sweep()
    assert not any(path.exists() for path in goes)
    assert all(path.exists() for path in stays)


async def test_with_storage_away_the_next_round_tries_again(place: Place) -> None:
    await place.push()
    left = await place.put_source(uuid4(), age=timedelta(days=2))
    aside = place.storage.with_name("aside")
    place.storage.rename(aside)
    place.storage.write_text("in the way")
    with pytest.raises(StorageUnavailableError):
        await place.retention.sweep("shop", last_build=place.clock.now())
    await place.cleaner.sweep()
    place.storage.unlink()
    aside.rename(place.storage)
    assert left.exists()
    await place.cleaner.sweep()
    assert not left.exists()


async def test_caches_go_when_nothing_was_built_for_long(place: Place) -> None:
    await place.push()
    place.registry.push("shop/cache", "buildpack", "cache")
    await place.cleaner.sweep()
    assert place.registry.tags("shop/cache") == ["buildpack"]
    place.clock.advance(timedelta(days=31))
    await place.cleaner.sweep()
    assert place.registry.tags("shop/cache") == []
    assert place.tags() == ["git-1", "git-1-worker"]


async def test_images_of_a_build_that_failed_half_way_go(place: Place) -> None:
    build = await place.push(content="same")
    failed = await _requested(place)
    await place.world.context.records.failed(failed.build_id, BuildFailedError("build-failed", "the second one broke"))
    half = place.registry.push("shop/shop", f"git-{'0' * 12}-{failed.number}", "half")
    same = place.registry.push("shop/shop", f"git-{'0' * 12}-{failed.number}-worker", "same")
    unknown = place.registry.push("shop/shop", f"git-{'0' * 12}-99", "of a build that nobody knows")
    await place.cleaner.sweep()
    assert not place.registry.has(half)
    assert place.registry.has(same)
    assert place.registry.has(unknown)
    assert build.number == 1


async def test_an_app_of_whose_deletion_nobody_told_goes(place: Place) -> None:
    for app in ("shop", "pie"):
        await place.push(app)
    place.registry.push("shop/cache", "buildpack", "cache")
    place.clock.advance(timedelta(minutes=1))
    place.far_side.answer = lambda app: NO_APP if app == "shop" else None
    await place.cleaner.sweep()
    place.clock.advance(timedelta(minutes=9))
    await place.cleaner.sweep()
    assert (place.world.settings.repos / "shop.git").exists()
    place.clock.advance(timedelta(minutes=1))
    await place.cleaner.sweep()
    assert not (place.world.settings.repos / "shop.git").exists()
    assert not (place.world.settings.build_logs / "shop").exists()
    assert place.runner.discarded[-1] == ("shop", None)
    assert await _builds(place, "shop") == []
    assert place.tags() == place.registry.tags("shop/cache") == []
    assert place.tags("pie") == ["git-1", "git-1-worker"]
    assert (place.world.settings.repos / "pie.git").exists()


async def test_an_app_that_came_back_or_was_built_again_stays(place: Place) -> None:
    await place.push()
    place.clock.advance(timedelta(minutes=1))
    place.far_side.answer = lambda _app: NO_APP
    await place.cleaner.sweep()
    place.far_side.answer = lambda _app: None
    place.clock.advance(timedelta(hours=1))
    await place.cleaner.sweep()  # it is known again
    place.far_side.answer = lambda _app: NO_APP
    await place.cleaner.sweep()
    assert (place.world.settings.repos / "shop.git").exists()
    # An app of that name was made again, and built, since it was missed first.
    missed = datetime.now(UTC)
    await place.push()
    await place.removal.remove("shop", before=missed)
    await place.world.context.records.forget("shop")
    await place.removal.remove_forgotten("shop", since=missed)  # its repository alone says it
    assert (place.world.settings.repos / "shop.git").exists()


async def test_one_apps_fault_does_not_stop_the_others(place: Place) -> None:
    for app in ("pie", "shop"):
        for _ in range(2):
            await place.push(app)
    place.far_side.answer = lambda app: Response(status_code=500) if app == "pie" else None
    await place.cleaner.sweep()
    assert len(place.tags("pie")) == 4
    assert place.tags() == ["git-2", "git-2-worker"]


async def test_a_controller_that_is_away_is_not_asked_of_every_app(place: Place) -> None:
    for app in ("a", "b", "c", "d", "e"):
        Repositories(place.world.settings.repos).ensure(app)
    place.far_side.is_away = True
    await place.cleaner.sweep()
    assert place.far_side.asked == ["a", "b", "c"]


async def test_a_deleted_app_leaves_no_images(place: Place) -> None:
    await place.push()
    place.registry.push("shop/cache", "buildpack", "cache")
    removal = place.removal
    place.stop_registry()
    with pytest.raises(RegistryUnavailableError):
        await removal.remove("shop", before=datetime.now(UTC))
    assert len(await _builds(place, "shop")) == 1  # so that it is found again
    place.start_registry()
    await removal.remove("shop", before=datetime.now(UTC))
    assert await _builds(place, "shop") == []
    assert place.tags() == place.registry.tags("shop/cache") == []


async def test_the_builder_sweeps_by_itself(short: Path, make_database: MakeDatabase) -> None:
    far_side = KeepingSide()
    url = await make_database("builder")
    async with open_world(short, url, far_side=far_side, clean_interval=timedelta(milliseconds=200)) as world:
        Repositories(world.settings.repos).ensure("shop")
        await eventually(lambda: len(far_side.asked) >= 2)
        assert set(far_side.asked) == {"shop"}


async def _builds(place: Place, app: str) -> list[Build]:
    return await place.world.context.records.page(app=app, before=None, limit=9)  # type: ignore[no-any-return]


async def _requested(place: Place) -> BuildSpec:
    """A build that was begun and has not ended."""
    records = place.world.context.records
    spec = BuildSpec(
        build_id=uuid7(),
        app="shop",
        number=number_after(await records.newest("shop")),
        sha=SHA,
        branch="main",
        actor="ana",
        config=AppConfig(),
        options={},
        limits=BuildLimits(timedelta(minutes=1), 1),
    )
    await records.requested(spec, Plan("buildpack", "procfile", {}, {}, ""))
    return spec


async def _silent(place: Place) -> UUID:
    """A build that has succeeded, and of whose release nothing was heard."""
    spec = await _requested(place)
    web, worker = (place.registry.push("shop/shop", name, name) for name in ("git-1", "git-1-worker"))
    result = BuildResult(web, "buildpack", {}, {}, "", images=(web, worker))
    await place.world.context.records.succeeded(spec.build_id, result)
    place.world.context.logs.create(spec.app, spec.build_id)
    place.world.context.logs.finish(spec.build_id)
    await eventually(lambda: "build.succeeded" in place.world.event_types())
    return spec.build_id
