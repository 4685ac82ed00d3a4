"""git or its hook ends while a build is about to begin: nothing begins without them, and nothing is left half begun."""

from __future__ import annotations

import asyncio
from pathlib import Path

import psutil
import pytest

from builder.domain.builds import BuildState
from builder.runner.port import BuildSpec, Plan, Tree
from builder.services.deploys import Push
from integration.builder_ssh.world import World
from support import eventually


def process_of(world: World, word: str) -> psutil.Process:
    """The one process of a push whose command line has that word."""
    (found,) = [one for one in world.processes() if word in " ".join(one.cmdline()) and not _is_hook(one, word)]
    return found


def _is_hook(process: psutil.Process, word: str) -> bool:
    return word != "hook_client" and "hook_client" in " ".join(process.cmdline())


async def test_a_push_whose_git_has_died_begins_no_build(
    world: World, ana: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checking, may_go_on = asyncio.Event(), asyncio.Event()
    check = world.runner.check

    async def slow(tree: Tree, spec: BuildSpec) -> Plan:
        checking.set()
        await may_go_on.wait()
        return await check(tree, spec)

    monkeypatch.setattr(world.runner, "check", slow)
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await checking.wait()
    process_of(world, "receive-pack").kill()  # its hook lives on
    assert (await pushing).status != 0
    await eventually(lambda: world.context.ssh.sessions.turns.present("shop") is None)
    may_go_on.set()

    await eventually(lambda: not world.processes())
    assert world.runner.specs == []
    assert world.events == []
    assert (await world.push(ana, source, "shop")).status == 0


async def test_a_push_that_is_over_takes_no_place_in_the_row(
    world: World, ana: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooks = world.context.ssh.sessions.hooks
    answer, called, may_go_on = hooks._handler, asyncio.Event(), asyncio.Event()

    async def late(push: Push, request: object, hook: object) -> int:
        called.set()
        await may_go_on.wait()
        status: int = await answer(push, request, hook)
        return status

    monkeypatch.setattr(hooks, "_handler", late)
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await called.wait()
    process_of(world, "receive-pack").kill()
    assert (await pushing).status != 0
    may_go_on.set()
    await eventually(lambda: not world.processes())

    assert world.context.ssh.sessions.turns.present("shop") is None


async def test_a_build_whose_hook_dies_while_it_is_recorded_has_an_end(
    world: World, ana: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    records = world.context.records
    requested, stored = records.requested, asyncio.Event()

    async def slow(spec: BuildSpec, plan: Plan, *, is_lasting: bool) -> None:
        await requested(spec, plan, is_lasting=is_lasting)
        stored.set()
        await asyncio.sleep(0.5)  # the answer to the commit is on its way

    monkeypatch.setattr(records, "requested", slow)
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await stored.wait()
    process_of(world, "hook_client").kill()
    assert (await pushing).status == 1

    await eventually(lambda: "build.failed" in world.event_types())
    (build,) = await records.page(app="shop", before=None, limit=5)
    assert build.state is BuildState.FAILED
    assert world.runner.specs == []


async def test_a_build_that_was_cancelled_when_it_was_just_done_is_not_released(
    world: World, ana: Path, source: Path
) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)
    (run,) = world.context.builds._runs.values()
    run.work.add_done_callback(lambda _: run.cancel("ana cancelled it"))
    world.runner.may_end.set()

    told = await pushing

    assert told.status == 1
    assert "Build cancelled (cancelled): ana cancelled it" in told.output
    assert "build.succeeded" not in world.event_types()


async def test_one_who_waits_and_goes_does_not_change_since_when_somebody_deploys(world: World) -> None:
    turns = world.context.ssh.sessions.turns
    first, second = turns.enter("shop", "ana"), turns.enter("shop", "bo")
    since = first.since
    turns.leave(second)
    assert first.since == since
