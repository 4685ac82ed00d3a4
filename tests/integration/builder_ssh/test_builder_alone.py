"""Two builders at one database: the second waits for the first, and says so; a build is never given up meanwhile."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from builder.domain.builds import BuildState
from builder.services import alone
from integration.builder_ssh.world import commit, open_world
from shared.db import Database
from shared.settings import SettingsError
from support import eventually
from support.fixtures import MakeDatabase
from support.tcp_proxy import TcpProxy, line_to_database

APP: dict[str, str | bytes] = {"Procfile": "web: ./serve\n", "serve": "#!/bin/sh\n"}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alone, "TAKE_SECONDS", 1.0)
    monkeypatch.setattr(alone, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(alone, "CHECK_SECONDS", 0.1)


@pytest.fixture
def ended() -> Iterator[list[int]]:
    """Signals to end that this process got."""
    numbers: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _frame: numbers.append(number))
    yield numbers
    signal.signal(signal.SIGTERM, before)


async def test_weakness_09_a_second_builder_gives_nothing_up_and_ends_with_a_sentence(
    short_path: Path, make_database: MakeDatabase
) -> None:
    url = await make_database("builder")
    second = short_path / "second"
    async with open_world(short_path, url) as world:
        key = world.add_user("ana", "shop")
        await commit(short_path / "app", APP)
        world.runner.may_end.clear()
        pushing = asyncio.create_task(world.push(key, short_path / "app", "shop"))
        await eventually(lambda: world.runner.specs)
        with pytest.raises(
            SettingsError, match=r"another builder is at work at this database, connected from .* since"
        ):
            async with open_world(second, url):
                raise AssertionError("it started")
        world.runner.may_end.set()
        outcome = await pushing
        assert outcome.status == 0, outcome.output
        (build,) = await world.context.records.page(app="shop", before=None, limit=9)
        assert build.state is BuildState.SUCCEEDED
    async with open_world(second, url):  # as it has gone
        pass


async def test_a_builder_whose_place_was_taken_ends(
    short_path: Path, make_database: MakeDatabase, ended: list[int]
) -> None:
    url = await make_database("builder")
    other = Database(url)
    lock = other.leader_lock("builder")
    async with line_to_database(url, TcpProxy) as (line, own), open_world(short_path, own):
        first = await lock.holder()
        await line.cut()
        await line.open()

        async def is_back() -> bool:
            return await lock.holder() not in (first, None)

        await eventually(is_back)
        assert not await lock.take()
        assert ended == []
        await line.cut()
        await eventually(lock.take)
        await line.open()
        await eventually(lambda: ended == [signal.SIGTERM])
    await lock.release()
    await other.close()
