"""Clients, hooks and builders that go away at the wrong moment."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from builder.domain.builds import BuildState
from builder.runner.port import BuildSpec, Log, Plan, Tree
from integration.builder_ssh.world import World, commit, kill_group, open_world
from support import eventually
from support.fixtures import MakeDatabase

MIB = 1024 * 1024


async def test_two_apps_are_built_at_the_same_time(world: World, source: Path) -> None:
    cy = world.add_user("cy", "one", "two")
    world.runner.may_end.clear()
    pushes = [asyncio.create_task(world.push(cy, source, app)) for app in ("one", "two")]

    await eventually(lambda: len(world.runner.running) == 2)
    world.runner.may_end.set()

    assert [outcome.status for outcome in await asyncio.gather(*pushes)] == [0, 0]


async def test_trap_04_a_client_killed_during_the_upload_changes_nothing(world: World, ana: Path, source: Path) -> None:
    await commit(source, {"big.bin": os.urandom(40 * MIB)})
    client = await world.start_push(ana, source, "shop")
    await eventually(lambda: _quarantines(world))
    kill_group(client)
    await client.communicate()

    await eventually(lambda: not world.processes())
    assert world.events == []
    assert (await world.push(ana, source, "shop")).status == 0


async def test_a_client_killed_during_the_build_does_not_stop_it(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    client = await world.start_push(ana, source, "shop")
    await eventually(lambda: world.runner.running)
    kill_group(client, signal.SIGINT)
    await client.communicate()
    world.runner.may_end.set()

    await eventually(lambda: "build.succeeded" in world.event_types())
    await eventually(lambda: world.context.ssh.sessions.turns.present("shop") is None)
    assert "Everything up-to-date" in (await world.push(ana, source, "shop")).output
    assert world.processes() == []


async def test_trap_05_a_frozen_client_is_found_out_and_its_git_ended(
    short_path: Path, make_database: MakeDatabase
) -> None:
    quick: dict[str, Any] = {"ssh_keepalive_interval": timedelta(milliseconds=200), "ssh_keepalive_count": 1}
    async with open_world(short_path, await make_database("builder"), **quick) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n", "big.bin": os.urandom(40 * MIB)})
        client = await world.start_push(ana, source, "shop")
        try:
            await eventually(lambda: _quarantines(world))
            kill_group(client, signal.SIGSTOP)
            await eventually(lambda: not world.processes())
        finally:
            kill_group(client)
            await client.communicate()
        assert world.events == []


async def test_an_upload_without_data_is_closed(short_path: Path, make_database: MakeDatabase) -> None:
    quick: dict[str, Any] = {"upload_idle_timeout": timedelta(milliseconds=300)}
    async with open_world(short_path, await make_database("builder"), **quick) as world:
        ana = world.add_user("ana", "shop")
        command = [*world.ssh_command(ana), "-p", str(world.context.ssh.port), "git@127.0.0.1"]
        idle = await asyncio.create_subprocess_exec(
            *command, "git-receive-pack '/shop.git'", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        assert idle.stderr is not None
        async with asyncio.timeout(20):
            said = await idle.stderr.read()
        await idle.wait()

        assert b"nothing was received for a while" in said
        await eventually(lambda: not world.processes())


async def test_a_client_that_reads_nothing_keeps_the_turn_no_longer_than_its_build(
    short_path: Path, make_database: MakeDatabase
) -> None:
    quick: dict[str, Any] = {"upload_idle_timeout": timedelta(seconds=4)}
    async with open_world(short_path, await make_database("builder"), **quick) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})

        async def script(_tree: Tree, _spec: BuildSpec, log: Log) -> None:
            for _ in range(100):  # more than all pipes and windows on its way hold
                await log.write(("x" * 99 + "\n") * 1000)

        world.runner.script = script
        client = await world.start_push(ana, source, "shop")
        assert client.stdout is not None
        client.stdout._transport.pause_reading()  # type: ignore[attr-defined]  # and nobody reads it
        try:
            await eventually(lambda: "build.succeeded" in world.event_types())
            turns = world.context.ssh.sessions.turns
            await eventually(lambda: turns.present("shop") is None, timeout=30)
        finally:
            kill_group(client)
            client.stdout._transport.resume_reading()  # type: ignore[attr-defined]
            await client.communicate()
        assert "Everything up-to-date" in (await world.push(ana, source, "shop")).output
        await eventually(lambda: not world.processes())


async def test_a_clone_that_nobody_reads_is_ended(short_path: Path, make_database: MakeDatabase) -> None:
    quick: dict[str, Any] = {"upload_idle_timeout": timedelta(seconds=4)}
    async with open_world(short_path, await make_database("builder"), **quick) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n", "big.bin": os.urandom(20 * MIB)})
        assert (await world.push(ana, source, "shop")).status == 0
        lazy = world.path / "lazy"  # its ssh goes on answering, and hands on no more than the beginning
        ssh = shlex.join(world.ssh_command(ana))
        lazy.write_text(f'#!/bin/sh\n{ssh} "$@" | {{ dd bs=64k count=8 status=none; sleep 60; }}\n')
        lazy.chmod(0o700)
        client = await asyncio.create_subprocess_exec(
            *("git", "clone", "--quiet", world.remote("shop"), str(world.path / "clone")),
            env=world.git_environment(ana) | {"GIT_SSH_COMMAND": str(lazy), "GIT_SSH_VARIANT": "ssh"},
            start_new_session=True,
        )
        try:
            await eventually(world.processes)
            await eventually(lambda: not world.processes(), timeout=30)
            assert client.returncode is None  # not because it went away
        finally:
            kill_group(client)
            await client.wait()
        assert (await world.push(ana, source, "shop")).status == 0


async def test_weakness_10_a_push_that_is_too_large_is_stopped(short_path: Path, make_database: MakeDatabase) -> None:
    async with open_world(short_path, await make_database("builder"), max_push_bytes=MIB) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n", "big.bin": os.urandom(3 * MIB)})

        outcome = await world.push(ana, source, "shop")

        assert outcome.status != 0
        assert "pack exceeds maximum allowed size" in outcome.output
        assert world.events == []


async def test_a_dead_hook_cancels_the_build(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)
    (hook,) = [process for process in world.processes() if "hook_client" in " ".join(process.cmdline())]
    hook.kill()

    outcome = await pushing

    assert outcome.status == 1
    assert "pre-receive hook declined" in outcome.output
    await eventually(lambda: "build.cancelled" in world.event_types())
    assert world.context.ssh.sessions.turns.present("shop") is None


async def test_a_stopped_builder_tells_the_pusher_and_records_it(short_path: Path, make_database: MakeDatabase) -> None:
    url = await make_database("builder")
    async with open_world(short_path, url) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        world.runner.may_end.clear()
        pushing = asyncio.create_task(world.push(ana, source, "shop"))
        await eventually(lambda: world.runner.running)
    outcome = await pushing
    published = world.event_types()

    assert outcome.status == 1
    assert "Build failed (interrupted)" in outcome.output
    async with open_world(short_path, url) as world:
        (build,) = await world.context.records.page(app="shop", before=None, limit=5)
        assert (build.state, build.code) == (BuildState.FAILED, "interrupted")
        await eventually(lambda: [*published, *world.event_types()][-1] == "build.failed")


async def test_builds_of_a_crashed_builder_are_given_up_at_start(short_path: Path, make_database: MakeDatabase) -> None:
    url = await make_database("builder")
    async with open_world(short_path, url) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        await world.push(ana, source, "shop")
        spec = replace(world.runner.specs[0], build_id=uuid4(), number=2)
        await world.context.records.requested(spec, Plan("buildpack", "procfile", {"web": "x"}, {}, ""))
        await world.context.records.started(spec.build_id)  # as if it had crashed right after
        # As on a full disk: a log that takes no last word must not keep the builder from starting.
        log = world.settings.build_logs / "shop" / f"{spec.build_id}.log"
        log.mkdir()
    async with open_world(short_path, url) as world:
        build = await world.context.records.get(spec.build_id)
        assert (build.state, build.code) == (BuildState.FAILED, "interrupted")
        await eventually(lambda: "build.failed" in world.event_types())


async def test_silence_of_the_controller_is_reported(short_path: Path, make_database: MakeDatabase) -> None:
    quick: dict[str, Any] = {"verdict_timeout": timedelta(milliseconds=300)}
    async with open_world(short_path, await make_database("builder"), **quick) as world:
        ana, source = world.add_user("ana", "shop"), world.path / "source"
        await commit(source, {"Procfile": "web: x\n"})
        world.deploys = False

        outcome = await world.push(ana, source, "shop")

        assert outcome.status == 1
        assert "No verdict (no-verdict)" in outcome.output
        assert "drycc releases list -a shop" in outcome.output


def _quarantines(world: World) -> list[Path]:
    return list((world.settings.repos / "shop.git" / "objects").glob("tmp_objdir*"))
