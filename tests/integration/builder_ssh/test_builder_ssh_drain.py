"""A builder that is stopped while it has work: what runs may end, what comes is told to come again."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import asyncssh

from integration.builder_ssh.world import commit, open_world
from support import eventually
from support.fixtures import MakeDatabase

TOLD = "The builder is being restarted; push again in a moment"


async def test_a_running_push_ends_and_new_ones_are_told_to_come_back(
    short_path: Path, make_database: MakeDatabase
) -> None:
    async with AsyncExitStack() as stack:
        world = await stack.enter_async_context(
            open_world(short_path, await make_database("builder"), drain_seconds=60.0)
        )
        ana, source = world.add_user("ana", "shop", "other"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        connection = await asyncssh.connect(
            "127.0.0.1", world.context.ssh.port, client_keys=[str(ana)], known_hosts=None, username="git", config=None
        )
        world.runner.may_end.clear()
        pushing = asyncio.create_task(world.push(ana, source, "shop"))
        await eventually(lambda: world.runner.running)
        closing = asyncio.create_task(stack.aclose())

        async def is_told() -> bool:
            return TOLD in (await world.push(ana, source, "other")).output

        await eventually(is_told)  # a new connection
        ran = await connection.run("git-receive-pack '/other.git'")
        pinged = await connection.run("ping")
        assert not closing.done()
        world.runner.may_end.set()
        outcome = await pushing
        await closing
        connection.close()

    assert outcome.status == 0, outcome.output
    assert "Done, shop:v2 deployed" in outcome.output
    assert ran.exit_status == 1
    assert f"ERR {TOLD}" in str(ran.stdout)
    assert pinged.exit_status == 1
    assert TOLD in str(pinged.stderr)
    assert world.event_types()[-1] == "build.succeeded"


async def test_a_push_that_takes_longer_is_given_up_with_a_reason(
    short_path: Path, make_database: MakeDatabase
) -> None:
    async with open_world(short_path, await make_database("builder"), drain_seconds=0.2) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        world.runner.may_end.clear()
        pushing = asyncio.create_task(world.push(ana, source, "shop"))
        await eventually(lambda: world.runner.running)
    outcome = await pushing

    assert outcome.status == 1
    assert "Build failed (interrupted)" in outcome.output
