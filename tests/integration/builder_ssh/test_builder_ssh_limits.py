"""How much one address, one key or one app may have at once, and what they are told."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from integration.builder_ssh.world import World, commit, open_world
from support import eventually
from support.fixtures import MakeDatabase


async def stay(stack: AsyncExitStack, world: World, key: Path) -> asyncssh.SSHClientConnection:
    """Log in and stay."""
    return await stack.enter_async_context(
        asyncssh.connect(
            "127.0.0.1", world.context.ssh.port, client_keys=[str(key)], known_hosts=None, username="git", config=None
        )
    )


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ssh_max_connections", "The builder has as many connections as it may have"),
        ("ssh_max_connections_per_address", "Too many connections from your address at once (2)"),
        ("ssh_max_connections_per_key", "Too many connections with your key at once (2)"),
    ],
)
async def test_weakness_04_connections_are_limited_and_told_why(
    short_path: Path, make_database: MakeDatabase, setting: str, told: str
) -> None:
    limits: dict[str, Any] = {setting: 2}
    async with open_world(short_path, await make_database("builder"), **limits) as world:
        ana = world.add_user("ana", "shop")
        async with AsyncExitStack() as stack:
            for _ in range(2):
                await stay(stack, world, ana)
            outcome = await world.ssh(ana, "ping")
        assert outcome.status == 255
        assert told in outcome.output

        async def gets_in() -> bool:
            return (await world.ssh(ana, "ping")).status == 0

        await eventually(gets_in)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("ssh_max_commands_per_address", "Too many git commands run from your address at once (1)"),
        ("ssh_max_commands_per_key", "Too many git commands run with your key at once (1)"),
        ("ssh_max_commands_per_app", "Too many git commands run on shop at once (1)"),
    ],
)
async def test_git_commands_are_limited_and_told_why(
    short_path: Path, make_database: MakeDatabase, setting: str, told: str
) -> None:
    limits: dict[str, Any] = {setting: 1}
    async with open_world(short_path, await make_database("builder"), **limits) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        world.runner.may_end.clear()
        pushing = asyncio.create_task(world.push(ana, source, "shop"))
        await eventually(lambda: world.runner.running)
        second = await world.push(ana, source, "shop")
        world.runner.may_end.set()

        assert (await pushing).status == 0
        assert second.status == 128
        assert f"remote error: {told}" in second.output
        assert (await world.push(ana, source, "shop")).status == 0


async def test_weakness_24_who_may_not_use_an_app_takes_none_of_its_places(
    short_path: Path, make_database: MakeDatabase
) -> None:
    async with open_world(short_path, await make_database("builder"), ssh_max_commands_per_app=1) as world:
        ana, bo, source = world.add_user("ana", "shop"), world.add_user("bo", "bos-app"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})

        strangers = [asyncio.create_task(world.push(bo, source, "shop")) for _ in range(4)]
        outcome = await world.push(ana, source, "shop")

        assert outcome.status == 0, outcome.output
        assert {stranger.status for stranger in await asyncio.gather(*strangers)} == {128}


async def test_weakness_04_failed_logins_are_banned_for_a_while(short_path: Path, make_database: MakeDatabase) -> None:
    limits: dict[str, Any] = {"ssh_failed_logins": 3, "ssh_failed_logins_ban": timedelta(seconds=3)}
    async with open_world(short_path, await make_database("builder"), **limits) as world:
        ana, stranger = world.add_user("ana", "shop"), world.add_user("eve")
        world.far_side.keys = {key: name for key, name in world.far_side.keys.items() if name == "ana"}
        for _ in range(2):
            assert "Permission denied (publickey)" in (await world.ssh(stranger, "ping")).output
        assert (await world.ssh(ana, "ping")).status == 0  # somebody else at the same address: it is not hostile
        for _ in range(3):
            assert "Permission denied (publickey)" in (await world.ssh(stranger, "ping")).output

        outcome = await world.ssh(ana, "ping")
        assert outcome.status == 255
        assert "Too many failed logins from your address; try again in " in outcome.output

        async def gets_in() -> bool:
            return (await world.ssh(ana, "ping")).status == 0

        await eventually(gets_in)


async def test_a_controller_that_is_away_bans_nobody(short_path: Path, make_database: MakeDatabase) -> None:
    async with open_world(short_path, await make_database("builder"), ssh_failed_logins=1) as world:
        ana = world.add_user("ana", "shop")
        world.far_side.is_away = True
        for _ in range(3):
            assert "its controller does not answer" in (await world.ssh(ana, "ping")).output
        world.far_side.is_away = False

        assert (await world.ssh(ana, "ping")).status == 0


async def test_port_probes_are_no_failed_logins(short_path: Path, make_database: MakeDatabase) -> None:
    async with open_world(short_path, await make_database("builder"), ssh_failed_logins=1) as world:
        ana = world.add_user("ana", "shop")
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", world.context.ssh.port)
            writer.close()
            await asyncssh.get_server_host_key("127.0.0.1", world.context.ssh.port)

        assert (await world.ssh(ana, "ping")).status == 0
