"""Two pushes to one app: who waits for whom, who takes whose place, and what git's branch is at in the end."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from integration.builder_ssh.world import Outcome, World, commit, kill_group, run
from shared.events import BuildSucceeded, ReleaseCreated
from support import eventually

WHO = r"ana builds main at [0-9a-f]{12} \(build 1\) since \d\d:\d\d:\d\d UTC; you are next\."


@pytest.fixture
def bo(world: World) -> Path:
    """Bo's key; he may push to `shop`, too."""
    return world.add_user("bo", "shop")


async def building(world: World, key: Path, source: Path) -> asyncio.Task[Outcome]:
    """A push whose build runs until `may_end` is set."""
    world.runner.may_end.clear()
    before = len(world.runner.specs)
    pushing = asyncio.create_task(world.push(key, source, "shop"))
    await eventually(lambda: len(world.runner.specs) > before)
    return pushing


async def waiting(world: World, key: Path, source: Path, *options: str) -> asyncio.Task[Outcome]:
    """One more push, which has come to its place in the row."""
    turns = world.context.ssh.sessions.turns
    before = turns.waiting("shop")
    pushing = asyncio.create_task(world.push(key, source, "shop", options=options))
    await eventually(lambda: turns.waiting("shop") > before or pushing.done())
    return pushing


async def clone(world: World, source: Path, name: str) -> Path:
    """Another person's repository with the same history."""
    await run("git", "clone", "-q", str(source), str(world.path / name))
    return world.path / name


async def deployed(world: World) -> str:
    """The commit that the branch is at."""
    listed = await run("git", "-C", str(world.settings.repos / "shop.git"), "rev-parse", "main")
    return listed.output.strip()


async def test_a_second_push_is_told_who_builds_what_since_when_and_is_built_next(
    world: World, ana: Path, bo: Path, source: Path
) -> None:
    first = await building(world, ana, source)
    newer = await clone(world, source, "bos")
    tip = await commit(newer, {"new": "1"})
    second = await waiting(world, bo, newer)
    assert len(world.runner.specs) == 1
    world.runner.may_end.set()

    assert (await first).status == 0
    told = await second
    assert told.status == 0, told.output
    assert re.search(WHO, told.output), told.output
    assert "git push -o supersede" in told.output
    assert "shop:v3 deployed" in told.output
    assert [spec.actor for spec in world.runner.specs] == ["ana", "bo"]
    assert await deployed(world) == tip


async def test_pushes_are_built_in_the_order_in_which_they_came(world: World, ana: Path, source: Path) -> None:
    first = await building(world, ana, source)
    pushes = []
    for name in ("bo", "cy", "di"):
        key, newer = world.add_user(name, "shop"), await clone(world, source, name)
        source = newer
        await commit(newer, {name: "1"})
        pushes.append(await waiting(world, key, newer))
    world.runner.may_end.set()

    outcomes = [await first, *[await push for push in pushes]]
    assert [outcome.status for outcome in outcomes] == [0, 0, 0, 0], outcomes[-1].output
    assert [spec.actor for spec in world.runner.specs] == ["ana", "bo", "cy", "di"]
    assert "you are number 3 of those who wait" in outcomes[-1].output


async def test_a_push_that_lacks_what_was_deployed_while_it_waited_is_declined(
    world: World, ana: Path, bo: Path, source: Path
) -> None:
    await world.push(ana, source, "shop")
    other = await clone(world, source, "bos")
    tip = await commit(source, {"a": "1"})
    first = await building(world, ana, source)
    await commit(other, {"b": "1"})
    second = await waiting(world, bo, other)
    forced = await waiting(world, bo, await _unrelated(world), "--force")
    world.runner.may_end.set()

    assert (await first).status == 0
    told = await second
    assert told.status == 1
    assert f"main has moved to {tip[:12]} meanwhile, which this push does not contain" in told.output
    assert "fetch it, merge it and push again" in told.output
    assert (await forced).status == 0
    assert [spec.actor for spec in world.runner.specs] == ["ana", "ana", "bo"]


async def _unrelated(world: World) -> Path:
    path = world.path / "unrelated"
    await commit(path, {"Procfile": "web: other\n"})
    return path


async def test_a_push_takes_the_place_of_those_before_it(world: World, ana: Path, bo: Path, source: Path) -> None:
    first = await building(world, ana, source)
    cy = world.add_user("cy", "shop")
    await commit(source, {"c": "1"})
    second = await waiting(world, cy, source)
    newest = await clone(world, source, "bos")
    tip = await commit(newest, {"d": "1"})
    third = asyncio.create_task(world.push(bo, newest, "shop", options=["-o", "supersede"]))

    for outcome in (await first, await second):
        assert outcome.status == 1
        assert "bo superseded it with a newer push" in outcome.output
    world.runner.may_end.set()
    told = await third
    assert told.status == 0, told.output
    assert re.search(r"Superseded: build 1 of ana \(main at \w{12}\), the push of cy\.", told.output)
    assert [spec.actor for spec in world.runner.specs] == ["ana", "bo"]
    assert world.event_types().count("build.cancelled") == 1
    assert await deployed(world) == tip


async def test_a_build_is_cancelled_with_a_push_option(world: World, ana: Path, bo: Path, source: Path) -> None:
    first = await building(world, ana, source)

    told = await world.push(bo, source, "shop", options=["-o", "cancel"])

    assert told.status == 1
    assert "Cancelled: build 1 of ana (main at" in told.output
    outcome = await first
    assert outcome.status == 1
    assert "Build cancelled (cancelled): bo cancelled it with `git push -o cancel`" in outcome.output
    assert world.event_types()[-1] == "build.cancelled"
    again = await world.push(bo, source, "shop", options=["-o", "cancel"])
    assert again.status == 1
    assert "Nothing is built for shop now" in again.output


async def test_what_is_being_released_cannot_be_cancelled(world: World, ana: Path, bo: Path, source: Path) -> None:
    world.deploys = False
    first = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: "build.succeeded" in world.event_types())
    await eventually(lambda: world.context.ssh.sessions.turns.present("shop").run.is_built)

    told = await world.push(bo, source, "shop", options=["-o", "cancel"])
    assert "Too late: build 1 of ana" in told.output
    built = world.events[-1].unwrap()
    assert isinstance(built, BuildSucceeded)
    await world.release(built)
    assert (await first).status == 0


async def test_the_same_commit_pushed_again_follows_the_build_under_way(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    client = await world.start_push(ana, source, "shop")
    await eventually(lambda: world.runner.running)
    kill_group(client)
    await client.communicate()

    again = await waiting(world, ana, source)
    world.runner.may_end.set()

    told = await again
    assert told.status == 0, told.output
    assert "Build 1 is of this commit and under way" in told.output
    assert "---> Scripted build" in told.output
    assert "shop:v2 deployed" in told.output
    assert len(world.runner.specs) == 1
    assert "Everything up-to-date" in (await world.push(ana, source, "shop")).output


async def test_one_who_waits_and_goes_leaves_the_row(world: World, ana: Path, bo: Path, source: Path) -> None:
    first = await building(world, ana, source)
    await commit(source, {"new": "1"})
    client = await world.start_push(bo, source, "shop")
    turns = world.context.ssh.sessions.turns
    await eventually(lambda: turns.waiting("shop") == 1)
    kill_group(client)
    await client.communicate()

    await eventually(lambda: turns.waiting("shop") == 0)
    world.runner.may_end.set()
    assert (await first).status == 0
    assert len(world.runner.specs) == 1


async def test_rights_are_asked_again_after_the_wait(world: World, ana: Path, bo: Path, source: Path) -> None:
    first = await building(world, ana, source)
    await commit(source, {"new": "1"})
    second = await waiting(world, bo, source)
    world.far_side.grants.discard(("bo", "shop"))
    world.runner.may_end.set()

    assert (await first).status == 0
    told = await second
    assert told.status == 1
    assert "bo may not push to it" in told.output
    assert len(world.runner.specs) == 1


async def test_after_a_build_that_failed_the_next_in_the_row_is_built(
    world: World, ana: Path, bo: Path, source: Path
) -> None:
    first = await building(world, ana, source)
    await commit(source, {"new": "1"})
    second = await waiting(world, bo, source)
    await world.context.builds.cancel(world.runner.specs[0].build_id, "it was wrong")
    world.runner.may_end.set()

    assert (await first).status == 1
    assert (await second).status == 0


async def test_other_branches_do_not_wait(world: World, ana: Path, bo: Path, source: Path) -> None:
    first = await building(world, ana, source)
    stored = await world.push(bo, source, "shop", "main:try-it")
    assert stored.status == 0
    assert "branch try-it stored, nothing is deployed" in stored.output
    world.runner.may_end.set()
    assert (await first).status == 0


async def test_an_unknown_push_option_is_told(world: World, ana: Path, source: Path) -> None:
    outcome = await world.push(ana, source, "shop", options=["-o", "ci.skip"])
    assert outcome.status == 0
    assert "Push option ci.skip is not known here; these are: cancel, stack, supersede." in outcome.output


async def test_what_is_deployed_and_lacks_its_branch_is_not_built_again(world: World, ana: Path, source: Path) -> None:
    """As a builder leaves it that is killed between the two."""
    await world.push(ana, source, "shop")
    old = await deployed(world)
    tip = await commit(source, {"new": "1"})
    await world.push(ana, source, "shop")
    repository = str(world.settings.repos / "shop.git")
    await run("git", "-C", repository, "update-ref", "refs/heads/main", old, tip)

    told = await world.push(ana, source, "shop")

    assert told.status == 0
    assert "Build 2 of this commit is deployed; only its branch was not moved." in told.output
    assert await deployed(world) == tip
    assert len(world.runner.specs) == 2

    # After a rollback to the first build the same push deploys.
    first = next(one.unwrap() for one in world.events if one.routing_key == "build.succeeded")
    assert isinstance(first, BuildSucceeded)
    await world.release(first)
    await run("git", "-C", repository, "update-ref", "refs/heads/main", old, tip)
    told = await world.push(ana, source, "shop")
    assert told.status == 0
    assert [spec.sha for spec in world.runner.specs] == [old, tip, tip]


async def test_what_waits_to_be_deployed_and_lacks_its_branch_is_not_built_again(
    world: World, ana: Path, source: Path
) -> None:
    """The same where automatic deployment is off."""
    await world.push(ana, source, "shop")
    old = await deployed(world)
    tip = await commit(source, {"new": "1"})
    world.deploys = False
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.event_types().count("build.succeeded") == 2)
    first, second = (one.unwrap() for one in world.events if one.routing_key == "build.succeeded")
    assert isinstance(first, BuildSucceeded)
    assert isinstance(second, BuildSucceeded)
    facts: dict[str, Any] = {"app": "shop", "version": 3, "build_id": second.build_id, "sha": tip}
    await world.publish(ReleaseCreated(**facts, actor="ana", summary="", deploys=False))
    assert (await pushing).status == 0
    repository = str(world.settings.repos / "shop.git")
    await run("git", "-C", repository, "update-ref", "refs/heads/main", old, tip)

    told = await world.push(ana, source, "shop")

    assert told.status == 0
    assert "Build 2 of this commit waits to be deployed; only its branch was not moved." in told.output
    assert await deployed(world) == tip
    assert len(world.runner.specs) == 2

    # Once another build was deployed after it, the same push makes a release again.
    await world.release(first)
    await run("git", "-C", repository, "update-ref", "refs/heads/main", old, tip)
    world.deploys = True
    assert (await world.push(ana, source, "shop")).status == 0
    assert [spec.sha for spec in world.runner.specs] == [old, tip, tip]
