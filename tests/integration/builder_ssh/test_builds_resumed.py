"""Builds whose runner lets them outlive the builder: each comes to its end once, in the hands of the next process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from builder.runner.port import BuildFailedError, BuildResult, BuildSpec, LastingRunner, Log, Plan, Tree
from builder.services import builds as builds_module
from integration.builder_ssh.far_side import FarSide, ScriptedRunner
from integration.builder_ssh.world import Outcome, World, commit, open_world
from shared.errors import InvalidInputError
from shared.events import BuildSucceeded, Envelope, ReleaseCreated, ReleaseDeployed
from support import eventually
from support.fixtures import MakeDatabase

APP = {"Procfile": "web: run\n", "requirements.txt": ""}


@dataclass
class Elsewhere:
    """Where builds go on whatever becomes of a builder: what they have said so far, and whether they have ended."""

    lines: list[str] = field(default_factory=list)
    is_over: bool = False
    fails: bool = False
    ended: list[UUID] = field(default_factory=list)
    may_clear: bool = True
    specs: list[BuildSpec] = field(default_factory=list)


class LastingScriptedRunner(ScriptedRunner):
    """Follows what goes on elsewhere."""

    elsewhere: Elsewhere

    async def build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        del source
        return await self.resume(spec, plan, log)

    async def resume(self, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        self.elsewhere.specs.append(spec)
        told = int(log.position or 0)
        while True:
            for line in self.elsewhere.lines[told:]:
                told += 1
                await log.write(f"{line}\n", position=str(told))
            if self.elsewhere.is_over:
                break
            await asyncio.sleep(0.01)
        if self.elsewhere.fails:
            raise BuildFailedError("build-failed", "it broke")
        return BuildResult("registry/shop/shop@sha256:1", plan.stack, dict(plan.procfile), {}, "")

    async def end(self, spec: BuildSpec) -> None:
        if not self.elsewhere.may_clear:
            raise InvalidInputError("not now")
        self.elsewhere.ended.append(spec.build_id)


@dataclass
class Platform:
    """Starts one builder after the other on the same volume and database."""

    path: Path
    database_url: str
    elsewhere: Elsewhere = field(default_factory=Elsewhere)
    far_side: FarSide = field(default_factory=FarSide)
    events: list[Envelope] = field(default_factory=list)

    @asynccontextmanager
    async def builder(self) -> AsyncIterator[World]:
        runner = LastingScriptedRunner(self.path / "scratch")
        runner.elsewhere = self.elsewhere
        async with open_world(self.path, self.database_url, scripted=runner, far_side=self.far_side) as world:
            yield world
        self.events += world.events

    def told(self) -> Counter[str]:
        """How often what was told by all builders so far; what one of them has told twice counts once."""
        return Counter(kind for kind, _ in {(one.routing_key, one.id) for one in self.events})

    async def stopped_in_mid_build(self) -> Outcome:
        """Push, and stop the builder when the build has said something; what the pusher was told."""
        async with self.builder() as world:
            key = world.add_user("ana", "shop")
            await commit(self.path / "app", dict(APP))
            pushing = asyncio.create_task(world.push(key, self.path / "app", "shop"))
            self.elsewhere.lines.append("first")
            await eventually(lambda: "build.started" in world.event_types())
            await eventually(lambda: self.says("first"))
        assert "build.failed" not in world.event_types()
        return await pushing

    async def pushed(self, world: World, key: Path) -> tuple[asyncio.Task[Outcome], BuildSucceeded]:
        """A push that waits for its release, of which nobody says anything by himself, and its build."""
        world.deploys = False
        await commit(self.path / "app", dict(APP))
        pushing = asyncio.create_task(world.push(key, self.path / "app", "shop"))
        await eventually(lambda: "build.succeeded" in world.event_types())
        built = next(one.unwrap() for one in world.events if one.routing_key == "build.succeeded")
        assert isinstance(built, BuildSucceeded)
        return pushing, built

    def says(self, word: str) -> bool:
        """Whether the log of a build has that."""
        return any(word in path.read_text() for path in (self.path / "build-logs").glob("shop/*.log"))


@pytest_asyncio.fixture
async def platform(short_path: Path, make_database: MakeDatabase) -> Platform:
    return Platform(short_path, await make_database("builder"))


async def log_of(world: World, build_id: object) -> str:
    async with world.http() as client:
        return (await client.get(f"/builds/{build_id}/log", params={"follow": True})).text


def test_the_runner_of_these_tests_is_one_whose_builds_last() -> None:
    assert issubclass(LastingScriptedRunner, LastingRunner)
    assert not issubclass(ScriptedRunner, LastingRunner)


async def test_a_build_goes_on_with_the_next_builder_and_is_deployed_once(platform: Platform) -> None:
    told = await platform.stopped_in_mid_build()
    assert told.status != 0
    assert "The build goes on" in told.output
    platform.elsewhere.lines.append("second")
    platform.far_side.values = [{"name": "TOKEN", "value": "secret", "group": "global"}]
    async with platform.builder() as world:
        (build,) = await world.context.records.page(app="shop", before=None, limit=9)
        assert build.state == "running"
        platform.elsewhere.lines.append("third")
        platform.elsewhere.is_over = True
        await eventually(lambda: "build.succeeded" in world.event_types())
        text = await log_of(world, build.id)
        assert [text.count(f"{word}\n") for word in ("first", "second", "third")] == [1, 1, 1]
        assert "the build goes on" in text
        assert "shop:v2 deployed" in text
    assert platform.elsewhere.ended == [build.id]
    assert platform.elsewhere.specs[-1].config.group("global") == {"TOKEN": "secret"}
    async with platform.builder() as world:
        assert (await world.context.records.get(build.id)).state == "succeeded"
    assert platform.elsewhere.ended == [build.id]
    assert platform.told() == {"build.requested": 1, "build.started": 1, "build.succeeded": 1}


async def test_who_pushes_again_follows_the_build_that_goes_on(platform: Platform) -> None:
    await platform.stopped_in_mid_build()
    async with platform.builder() as world:
        pushing = asyncio.create_task(world.push(platform.path / "key-ana", platform.path / "app", "shop"))
        await eventually(lambda: world.context.ssh.sessions.turns.waiting("shop") == 1)
        platform.elsewhere.lines.append("second")
        platform.elsewhere.is_over = True
        told = await pushing
    assert told.status == 0, told.output
    assert [told.output.count(f"remote: {word}") for word in ("first", "second")] == [1, 1]
    assert "shop:v2 deployed" in told.output
    assert platform.told() == {"build.requested": 1, "build.started": 1, "build.succeeded": 1}


async def test_another_commit_waits_for_the_build_that_goes_on_and_is_told_when_the_builder_stops(
    platform: Platform,
) -> None:
    await platform.stopped_in_mid_build()
    await commit(platform.path / "app", {"new": "1"})
    async with platform.builder() as world:
        pushing = asyncio.create_task(world.push(platform.path / "key-ana", platform.path / "app", "shop"))
        await eventually(lambda: world.context.ssh.sessions.turns.waiting("shop") == 1)
    told = await pushing
    assert told.status == 1
    assert "ana builds main at" in told.output
    assert "the builder is being restarted: push again in a moment; nothing of this push was stored" in told.output
    assert len(platform.elsewhere.specs) == 2


async def test_a_build_that_fails_later_is_told_by_the_next_builder(platform: Platform) -> None:
    await platform.stopped_in_mid_build()
    platform.elsewhere.fails = platform.elsewhere.is_over = True
    async with platform.builder() as world:
        await eventually(lambda: "build.failed" in world.event_types())
        (build,) = await world.context.records.page(app="shop", before=None, limit=9)
        assert (build.state, build.message) == ("failed", "it broke")
        await eventually(lambda: platform.elsewhere.ended == [build.id])


async def test_what_a_killed_builder_did_not_clear_the_next_one_clears(platform: Platform) -> None:
    platform.elsewhere.is_over = True
    async with platform.builder() as world:
        platform.elsewhere.may_clear = False  # killed between the record and the clearing
        key = world.add_user("ana", "shop")
        await commit(platform.path / "app", dict(APP))
        platform.elsewhere.lines.append("first")
        told = await world.push(key, platform.path / "app", "shop")
        assert told.status == 0, told.output
        (build,) = await world.context.records.page(app="shop", before=None, limit=9)
    assert platform.elsewhere.ended == []
    platform.elsewhere.may_clear = True
    for _ in range(2):
        async with platform.builder() as world:
            await eventually(lambda: platform.elsewhere.ended == [build.id])
            assert not list(world.settings.build_logs.glob("*/*.position"))
    assert platform.told() == {"build.requested": 1, "build.started": 1, "build.succeeded": 1}


async def test_no_build_is_begun_by_a_builder_that_ends(platform: Platform) -> None:
    async with platform.builder() as world:
        key = world.add_user("ana", "shop")
        await commit(platform.path / "app", dict(APP))
        await world.context.builds.close()
        told = await world.push(key, platform.path / "app", "shop")
        assert told.status == 1
        assert "the builder is being restarted" in told.output
        assert await world.context.records.page(app="shop", before=None, limit=9) == []


async def test_a_build_that_goes_on_can_be_cancelled(platform: Platform) -> None:
    await platform.stopped_in_mid_build()
    async with platform.builder() as world:
        (build,) = await world.context.records.page(app="shop", before=None, limit=9)
        async with world.http() as client:
            cancelled = (await client.post(f"/builds/{build.id}/cancel")).json()
        assert cancelled["state"] == "cancelled"
        assert platform.elsewhere.ended == [build.id]


async def test_who_may_not_push_any_more_deploys_nothing(platform: Platform) -> None:
    await platform.stopped_in_mid_build()
    platform.elsewhere.is_over = True
    platform.far_side.grants.clear()
    async with platform.builder() as world:
        await eventually(lambda: "build.cancelled" in world.event_types())
        (build,) = await world.context.records.page(app="shop", before=None, limit=9)
        assert "ana may not push to it" in build.message
        assert platform.elsewhere.ended == [build.id]


async def test_a_build_waits_for_a_controller_that_is_away(platform: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(builds_module, "CONFIG_PAUSE_SECONDS", 0.05)
    await platform.stopped_in_mid_build()
    platform.elsewhere.is_over = True
    platform.far_side.is_away = True
    async with platform.builder() as world:
        await asyncio.sleep(0.3)
        assert "build.succeeded" not in world.event_types()
        world.far_side.is_away = False
        await eventually(lambda: "build.succeeded" in world.event_types())


async def test_a_build_that_waits_for_others_when_the_builder_stops_has_failed(
    short_path: Path, make_database: MakeDatabase
) -> None:
    """Its source is in the push alone, which ends with the builder."""
    runner = LastingScriptedRunner(short_path / "scratch")
    runner.elsewhere = Elsewhere()
    url = await make_database("builder")
    async with open_world(short_path, url, scripted=runner, builds_at_once=1) as world:
        key = world.add_user("ana", "shop", "pie")
        await commit(short_path / "app", dict(APP))
        first = asyncio.create_task(world.push(key, short_path / "app", "shop"))
        await eventually(lambda: bool(runner.elsewhere.specs))
        second = asyncio.create_task(world.push(key, short_path / "app", "pie"))
        await eventually(lambda: world.event_types().count("build.requested") == 2)
        await eventually(
            lambda: any("Waiting for other" in one.read_text() for one in short_path.glob("build-logs/pie/*.log"))
        )

    assert "The build goes on" in (await first).output
    told = await second
    assert "Build failed (interrupted)" in told.output
    assert "Nothing was deployed; push again." in told.output
    assert [spec.app for spec in runner.elsewhere.specs] == ["shop"]


async def test_a_build_whose_release_is_awaited_is_not_built_again(platform: Platform) -> None:
    platform.elsewhere.is_over = True
    async with platform.builder() as world:
        key = world.add_user("ana", "shop")
        pushing, built = await platform.pushed(world, key)
        await eventually(lambda: platform.says("making a release"))
    assert (await pushing).status != 0
    async with platform.builder() as world:
        again = asyncio.create_task(world.push(key, platform.path / "app", "shop"))
        await eventually(lambda: world.context.ssh.sessions.turns.waiting("shop") == 1)
        await world.release(built)
        told = await again
    assert told.status == 0, told.output
    assert "shop:v2 deployed" in told.output
    assert platform.told()["build.requested"] == 1


async def test_a_release_that_waits_for_somebody_keeps_nobody_waiting(platform: Platform) -> None:
    platform.elsewhere.is_over = True
    async with platform.builder() as world:
        pushing, built = await platform.pushed(world, world.add_user("ana", "shop"))
        facts: dict[str, Any] = {"app": "shop", "version": 2, "build_id": built.build_id, "sha": built.sha}
        await world.publish(ReleaseCreated(**facts, actor="ana", summary="", deploys=False))
        assert (await pushing).status == 0
    async with platform.builder() as world:
        assert world.context.ssh.sessions.turns.present("shop") is None
        build = await world.context.records.get(built.build_id)
        assert (build.verdict, build.verdict_code) == (None, "not-deployed")
        await world.publish(ReleaseDeployed(**facts, actor="ana", summary="", url=""))
        build = await world.context.records.get(built.build_id)
        assert (build.verdict, build.verdict_code, build.verdict_message) == ("deployed", None, None)
