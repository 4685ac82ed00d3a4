"""What is away or full while somebody pushes: declined in a sentence or done later, not lost, doubled or half done."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio

from builder.domain.builds import Build, BuildState, Verdict
from builder.runner.port import BuildFailedError, BuildSpec, Log, Plan, Tree
from builder.services import builds, storing
from builder.services.logs import MOST_WAITING_BYTES, BuildLog, BuildLogs
from integration.builder_ssh.far_side import ScriptedRunner, print_and_succeed
from integration.builder_ssh.world import Outcome, World, commit, open_world
from shared.bus import NotDeliveredError
from shared.bus.rabbit import RabbitBus
from shared.events import BuildSucceeded
from support import eventually
from support.fixtures import MakeDatabase
from support.tcp_proxy import LosingProxy, TcpProxy, line_to_database
from support.tools import require_root, require_tool

APP = {"Procfile": "web: ./serve\n", "serve": "#!/bin/sh\n"}
AWAY = "The builder's database does not answer"
MIB = 1024 * 1024


@dataclass
class Moments(ScriptedRunner):
    """Does something at the early checks or while it builds."""

    at_check: Callable[[], object] | None = None

    async def check(self, tree: Tree, spec: BuildSpec) -> Plan:
        plan = await super().check(tree, spec)
        if self.at_check is not None:
            await _done(self.at_check)
        return plan


async def _done(work: Callable[[], object]) -> None:
    result = work()
    if asyncio.iscoroutine(result):
        await result


async def pushed(world: World, *, files: dict[str, str | bytes] | None = None) -> Outcome:
    """Ana's push of a new commit to `shop`."""
    key = world.path / "key-ana"
    if not key.exists():
        world.add_user("ana", "shop")
    source = world.path / "app"
    await commit(source, {**APP, "change": uuid4().hex, **(files or {})})
    return await world.push(key, source, "shop")


async def newest(world: World) -> Build:
    """The app's last build."""
    build: Build = (await world.context.records.page(app="shop", before=None, limit=1))[0]
    return build


def told(world: World, kind: str) -> int:
    """How many such events there were; one that came twice counts once."""
    return len({envelope.id for envelope in world.events if envelope.routing_key == kind})


async def works_again(world: World) -> None:
    """As if nothing had happened."""
    outcome = await pushed(world)
    assert outcome.status == 0, outcome.output
    assert "deployed to Workflow" in outcome.output


# A bus that is away.


@asynccontextmanager
async def on_rabbit(path: Path, database_url: str, url: str, **settings: Any) -> AsyncIterator[tuple[World, TcpProxy]]:
    """A builder with a line of its own to the broker."""
    server = urlsplit(url)
    line = TcpProxy(server.hostname or "", server.port or 5672)
    await line.open()
    own = server._replace(netloc=f"{server.username}:{server.password}@127.0.0.1:{line.port}").geturl()
    bus = RabbitBus(url)
    try:
        async with open_world(path, database_url, far_bus=bus, bus_url=own, **settings) as world:
            yield world, line
    finally:
        await bus.close()
        await line.cut()


async def test_events_that_find_no_broker_are_told_later_and_the_push_waits(
    short_path: Path, make_database: MakeDatabase, rabbitmq_url: str
) -> None:
    async with on_rabbit(short_path, await make_database("builder"), rabbitmq_url) as (world, line):
        await line.cut()
        pushing = asyncio.create_task(pushed(world))
        await eventually(lambda: world.runner.specs and not world.runner.running)
        await asyncio.sleep(0.5)
        assert world.events == []
        assert not pushing.done()
        await line.open()
        outcome = await pushing
        assert outcome.status == 0, outcome.output
        for kind in ("build.requested", "build.started", "build.succeeded"):
            assert told(world, kind) == 1


async def test_a_verdict_that_cannot_come_in_time_is_recorded_later(
    short_path: Path, make_database: MakeDatabase, rabbitmq_url: str
) -> None:
    quick = {"verdict_timeout": timedelta(seconds=2)}
    async with on_rabbit(short_path, await make_database("builder"), rabbitmq_url, **quick) as (world, line):
        world.deploys = False
        pushing = asyncio.create_task(pushed(world))
        await eventually(lambda: told(world, "build.succeeded"))
        await line.cut()
        (built,) = [one.unwrap() for one in world.events if one.routing_key == "build.succeeded"]
        assert isinstance(built, BuildSucceeded)
        await world.release(built)
        outcome = await pushing
        assert outcome.status == 1
        assert "No verdict (no-verdict)" in outcome.output
        assert "see `drycc releases list -a shop` before you push again" in outcome.output
        assert (await newest(world)).verdict is None
        await line.open()
        await eventually(lambda: _has_verdict(world, Verdict.DEPLOYED), timeout=20)
        world.deploys = True
        await works_again(world)


async def _has_verdict(world: World, verdict: Verdict) -> bool:
    return (await newest(world)).verdict is verdict


# A database that is away.


@dataclass
class Lined:
    """A builder with a line to its database; what `runner` does while it builds is up to the test."""

    world: World
    line: LosingProxy
    runner: Moments

    async def cut(self, *_: object) -> None:
        await self.line.cut()

    async def back(self) -> None:
        await self.line.open()


@pytest_asyncio.fixture
async def lined(short_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Lined]:
    monkeypatch.setattr(storing, "PAUSE_SECONDS", 0.1)
    runner = Moments(short_path / "scratch")
    async with (
        line_to_database(await make_database("builder"), LosingProxy) as (line, own),
        open_world(short_path, own, scripted=runner) as world,
    ):
        try:
            yield Lined(world, line, runner)
        finally:
            if not line.is_open:
                await line.open()
            runner.may_end.set()


@pytest.mark.parametrize("moment", ["before the push", "at the early checks"])
async def test_without_a_database_nothing_begins_and_one_sentence_says_why(lined: Lined, moment: str) -> None:
    if moment == "before the push":
        await lined.cut()
    else:
        lined.runner.at_check = lined.cut
    outcome = await pushed(lined.world)
    assert outcome.status == 1
    assert f"{AWAY}; nothing was changed: push again in a moment." in outcome.output
    assert "unexpectedly" not in outcome.output
    assert lined.runner.specs == []
    async with lined.world.http() as client:  # alive, so that nobody restarts it for that (builder.md 18.18)
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readiness")).status_code == 503
    lined.runner.at_check = None
    await lined.back()
    await works_again(lined.world)
    assert [told(lined.world, f"build.{what}") for what in ("requested", "succeeded", "failed")] == [1, 1, 0]


async def test_a_request_whose_commit_got_no_answer_is_given_up_with_a_reason(lined: Lined) -> None:
    key = lined.world.add_user("ana", "shop")
    sha = await commit(lined.world.path / "app", {**APP})
    lined.line.loses = sha.encode()
    outcome = await lined.world.push(key, lined.world.path / "app", "shop")
    assert outcome.status == 1
    assert AWAY in outcome.output
    assert lined.line.losing is not None
    assert lined.runner.specs == []
    await lined.back()
    await eventually(lambda: told(lined.world, "build.failed"))
    build = await newest(lined.world)
    assert (build.state, build.code) == (BuildState.FAILED, "interrupted")
    await works_again(lined.world)


@pytest.mark.parametrize("ends", ["succeeded", "failed", "cancelled"])
async def test_the_end_of_a_build_is_stored_when_the_database_is_back(lined: Lined, ends: str) -> None:
    async def build(_tree: Tree, _spec: BuildSpec, _log: Log) -> None:
        await lined.cut()
        if ends == "failed":
            raise BuildFailedError("build-failed", "it broke")

    lined.runner.script = build
    if ends == "cancelled":
        lined.runner.may_end.clear()
    pushing = asyncio.create_task(pushed(lined.world))
    await eventually(lambda: lined.runner.specs)
    if ends == "cancelled":
        await eventually(lambda: not lined.line.is_open)
        key, source = lined.world.path / "key-ana", lined.world.path / "app"
        cancelling = await lined.world.push(key, source, "shop", options=("-o", "cancel"))
        assert "Cancelled: build 1 of ana" in cancelling.output
    await asyncio.sleep(0.5)
    assert not pushing.done()
    await lined.back()
    outcome = await pushing
    assert outcome.status == (0 if ends == "succeeded" else 1), outcome.output
    assert outcome.output.count(f"{AWAY}; waiting, to store how this build stands") == 1
    assert (await newest(lined.world)).state == ends
    await eventually(lambda: told(lined.world, f"build.{ends}") == 1)
    lined.runner.script = print_and_succeed
    lined.runner.may_end.set()
    await works_again(lined.world)


async def test_who_cancels_a_build_that_cannot_be_stored_is_told_so(
    lined: Lined, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "STOP_SECONDS", 0.2)
    lined.runner.may_end.clear()
    pushing = asyncio.create_task(pushed(lined.world))
    await eventually(lambda: lined.runner.specs)
    await eventually(lambda: told(lined.world, "build.started"))
    await lined.cut()
    build_id = lined.runner.specs[0].build_id
    async with lined.world.http() as client:
        answer = await client.post(f"/builds/{build_id}/cancel")
    assert (answer.status_code, answer.json()["code"]) == (503, "build-stopping")
    assert "is being stopped, which takes longer than usual" in answer.json()["detail"]
    await lined.back()
    assert (await pushing).status == 1
    assert (await newest(lined.world)).state == BuildState.CANCELLED


async def test_a_verdict_that_comes_while_the_database_is_away_is_told_when_it_is_back(lined: Lined) -> None:
    lined.world.deploys = False
    pushing = asyncio.create_task(pushed(lined.world))
    await eventually(lambda: told(lined.world, "build.succeeded"))
    (built,) = [one.unwrap() for one in lined.world.events if one.routing_key == "build.succeeded"]
    assert isinstance(built, BuildSucceeded)
    await lined.cut()
    with pytest.raises(NotDeliveredError):
        await lined.world.release(built)
    await lined.back()
    await lined.world.release(built)  # as the controller does, which was not told that it arrived
    outcome = await pushing
    assert outcome.status == 0, outcome.output
    assert (await newest(lined.world)).verdict is Verdict.DEPLOYED


async def test_a_builder_that_is_stopped_meanwhile_ends_and_the_next_one_gives_the_build_up(
    short_path: Path, make_database: MakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(builds, "STOP_SECONDS", 0.5)
    url = await make_database("builder")
    async with line_to_database(url, LosingProxy) as (line, own), open_world(short_path, own) as world:
        world.runner.may_end.clear()
        pushing = asyncio.create_task(pushed(world))
        await eventually(lambda: told(world, "build.started"))
        await asyncio.sleep(0.5)  # else the events of the app wait until a lease on this one is over
        await line.cut()
    outcome = await pushing
    assert outcome.status == 1
    assert "the builder was stopped while it built" in outcome.output
    async with open_world(short_path, url, far_side=world.far_side) as world:
        build = await newest(world)
        assert (build.state, build.code) == (BuildState.FAILED, "interrupted")
        await eventually(lambda: told(world, "build.failed"))
        await works_again(world)


# A controller that is away.


async def test_who_waited_is_not_built_while_nobody_can_say_whether_he_may_be(
    short_path: Path, make_database: MakeDatabase
) -> None:
    async with open_world(short_path, await make_database("builder")) as world:
        world.runner.may_end.clear()
        first = asyncio.create_task(pushed(world))
        await eventually(lambda: world.runner.running)
        bo, source = world.add_user("bo", "shop"), world.path / "of-bo"
        await commit(source, {**APP})
        second = asyncio.create_task(world.push(bo, source, "shop"))
        await eventually(lambda: world.context.ssh.sessions.turns.waiting("shop"))
        world.far_side.is_away = True
        world.runner.may_end.set()
        assert (await first).status == 0
        outcome = await second
        assert outcome.status == 1
        assert "its controller does not answer; try again soon" in outcome.output
        assert len(world.runner.specs) == 1
        world.far_side.is_away = False
        assert world.context.ssh.sessions.turns.present("shop") is None
        await works_again(world)


# A disk that is full.


@contextmanager
def small_disk(directory: Path, *, mebibytes: int = 8) -> Iterator[None]:
    require_root()
    directory.mkdir(parents=True)
    size = f"size={mebibytes}m"
    subprocess.run([require_tool("mount"), "-t", "tmpfs", "-o", size, "tests", directory], check=True)
    try:
        yield
    finally:
        subprocess.run([require_tool("umount"), "--lazy", directory], check=True)


def fill(directory: Path) -> Path:
    """A file that takes all the room that there is."""
    path = directory / "filler"
    with path.open("wb", buffering=0) as file:
        while True:
            try:
                file.write(b"x" * 4096)
            except OSError:
                return path


async def test_a_push_that_does_not_fit_is_declined_and_leaves_nothing(
    short_path: Path, make_database: MakeDatabase
) -> None:
    with small_disk(short_path / "repos"):
        async with open_world(short_path, await make_database("builder")) as world:
            filler = fill(world.settings.repos)
            outcome = await pushed(world)
            assert outcome.status != 0
            assert "the repository of shop cannot be made: No space left on device" in outcome.output
            assert list(world.settings.repos.iterdir()) == [filler]
            filler.unlink()
            outcome = await pushed(world, files={"big.bin": os.urandom(10 * MIB)})
            assert outcome.status != 0
            assert "No space left on device" in outcome.output
            objects = world.settings.repos / "shop.git" / "objects"
            await eventually(lambda: not list(objects.glob("tmp_objdir*")))
            assert world.events == []
            await commit(world.path / "other", {**APP})
            assert (await world.push(world.path / "key-ana", world.path / "other", "shop")).status == 0


async def test_a_branch_that_cannot_be_moved_is_told_and_the_next_push_sets_it_right(
    short_path: Path, make_database: MakeDatabase
) -> None:
    with small_disk(short_path / "repos"):
        async with open_world(short_path, await make_database("builder")) as world:
            await works_again(world)

            async def build(_tree: Tree, _spec: BuildSpec, _log: Log) -> None:
                fill(world.settings.repos)

            world.runner.script = build
            outcome = await pushed(world)
            assert outcome.status != 0
            assert "deployed to Workflow" in outcome.output
            (world.settings.repos / "filler").unlink()
            world.runner.script = print_and_succeed
            again = await world.push(world.path / "key-ana", world.path / "app", "shop")
            assert again.status == 0, again.output
            assert "main -> main" in again.output


async def test_a_log_for_which_there_is_no_room_reaches_the_pusher_and_is_stored_later(
    short_path: Path, make_database: MakeDatabase
) -> None:
    async def build(_tree: Tree, _spec: BuildSpec, log: Log) -> None:
        for number in range(100):
            await log.write(f"line {number}.\n")

    with small_disk(short_path / "build-logs"):
        async with open_world(short_path, await make_database("builder")) as world:
            filler = fill(world.settings.build_logs)
            world.runner.script = build
            world.runner.may_end.clear()
            pushing = asyncio.create_task(pushed(world))
            await eventually(lambda: world.runner.specs)
            await asyncio.sleep(0.3)
            filler.unlink()
            world.runner.may_end.set()
            outcome = await pushing
            assert outcome.status == 0, outcome.output
            (log,) = (world.settings.build_logs / "shop").glob("*.log")
            stored = log.read_text()
            for number in range(100):
                assert outcome.output.count(f"line {number}.") == stored.count(f"line {number}.") == 1
            assert stored.endswith("http://shop.localhost:8080\n")
            fill(world.settings.build_logs)
            await works_again(world)


async def test_a_full_disk_makes_no_memory_grow_and_notes_nothing_that_is_not_stored(tmp_path: Path) -> None:
    build_id = uuid4()
    with small_disk(tmp_path / "logs"):
        logs = BuildLogs(tmp_path / "logs", max_bytes=32 * MIB)
        log = logs.create("shop", build_id)
        await log.write("first\n", position="1")
        filler = fill(tmp_path / "logs")
        for number in range(2, 3000):
            await log.write(f"{number}: {'x' * 1000}\n", position=str(number))
        held = b"".join([data async for data in _so_far(log)])
        assert len(held) < 2 * MOST_WAITING_BYTES
        assert held.count(b"Output is missing here") == 1
        noted = int(log.position)
        assert f"{noted}: xx" in _on_disk(tmp_path) or noted == 1
        filler.unlink()
        await log.write("later\n", position="3000")
        assert log.position == "3000"
        log.conclude("last\n")
        logs.finish(build_id)
        stored = _on_disk(tmp_path)
        assert stored.startswith("first\n2: x")
        assert stored.endswith("later\nlast\n")
        assert stored.count("Output is missing here") == 1


async def _so_far(log: BuildLog) -> AsyncIterator[bytes]:
    following = aiter(log.follow())
    while True:
        try:
            async with asyncio.timeout(0.2):
                yield await anext(following)
        except TimeoutError:
            return


def _on_disk(directory: Path) -> str:
    (path,) = (directory / "logs" / "shop").glob("*.log")
    return path.read_text()
