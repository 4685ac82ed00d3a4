"""What is away or full while somebody pushes: declined in a sentence or done later, never lost, doubled or half done."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import make_url

from builder.domain.builds import Build, BuildState, Verdict
from builder.runner.port import BuildFailedError, BuildSpec, Log, Plan, Tree
from builder.services import storing
from builder.services.logs import MOST_WAITING_BYTES, BuildLogs
from integration.builder_ssh.far_side import ScriptedRunner, print_and_succeed
from integration.builder_ssh.world import Outcome, World, commit, open_world
from shared.bus.rabbit import RabbitBus
from shared.events import BuildSucceeded
from support import eventually
from support.fixtures import MakeDatabase
from support.tcp_proxy import TcpProxy
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
async def on_rabbit(path: Path, database_url: str, url: str, **settings: object) -> AsyncIterator[tuple[World, TcpProxy]]:
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


class Line(TcpProxy):
    """To the database. With `loses` it is cut right after the commit of what says that, before its answer."""

    loses: bytes = b""
    cutting: asyncio.Task[None] | None = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def watched() -> bytes:
            data = await reader.read(65536)
            return data

        has_said = False
        while data := await watched():
            has_said = has_said or (bool(self.loses) and self.loses in data)
            writer.write(data)
            await writer.drain()
            if has_said and b"COMMIT" in data and self.cutting is None:
                self._is_passing.clear()
                self.cutting = asyncio.create_task(self._lose())
            await self._is_passing.wait()

    async def _lose(self) -> None:
        await asyncio.sleep(0.2)  # the server does it meanwhile
        self._is_passing.set()
        await self.cut()
