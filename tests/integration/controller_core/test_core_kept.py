"""Which releases can be rolled back to, and which builds must therefore stay."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from controller.services.app_settings import AppSettingsService
from controller.services.builds import SPARE, Builds
from controller.services.releases import Releases
from shared.errors import InvalidInputError
from support.controller_core import ANA, Core

KEPT = 3


@pytest.fixture
async def shop(core: Core) -> Core:
    """The app shop; three of its releases are kept."""
    core.policy = replace(core.policy, releases_kept=KEPT)
    await core.app()
    return core


async def push(core: Core, *, sha: str) -> UUID:
    release = await core.build(sha=sha)
    await core.reconcile()
    assert release.build is not None
    return release.build


async def kept(core: Core) -> set[UUID]:
    async with core.work() as uow:
        return {build.uuid for build in await Builds(uow).kept("shop")}


async def roll_back(core: Core, version: int) -> None:
    async with core.work() as uow:
        await Releases(uow).roll_back("shop", version=version, actor=ANA)
    await core.reconcile()


async def test_the_newest_releases_can_be_rolled_back_to_and_older_ones_say_which_can(shop: Core) -> None:
    builds = [await push(shop, sha=f"a{number}") for number in range(8)]  # v2 to v9
    assert await kept(shop) == set(builds[-KEPT - SPARE :])
    with pytest.raises(InvalidInputError) as refused:
        await roll_back(shop, 6)
    assert refused.value.detail == "Cannot roll back to v6, which is too old: the oldest that still can be is v7."
    await roll_back(shop, 7)
    assert await shop.running() == {"web": [10]}
    assert (await shop.release(10)).build == builds[5]


async def test_what_failed_counts_for_nothing_but_the_newest_one_stays(shop: Core) -> None:
    good = [await push(shop, sha=f"a{number}") for number in range(2)]
    async with shop.work() as uow:
        await AppSettingsService(uow).change("shop", {"autorollback": False}, actor=ANA)
    shop.engine.fail("shop", "web")
    bad = [await push(shop, sha=f"b{number}") for number in range(7)]
    assert await kept(shop) == {*good, bad[-1]}
    shop.engine.heal("shop", "web")
    await roll_back(shop, 2)
    assert await shop.running() == {"web": [11]}


async def test_what_runs_stays_however_old_it_is(shop: Core) -> None:
    old = await push(shop, sha="a1")
    await shop.scale(worker=1)
    await shop.reconcile()
    for number in range(KEPT + SPARE + 2):
        # Only web is another one: the worker stays at v2.
        await shop.config(values=[{"name": "A", "value": str(number), "ptype": "web"}])
        await shop.reconcile()
    assert await shop.running() == {"web": [9], "worker": [2]}
    assert old in await kept(shop)
    await roll_back(shop, 2)
    assert await shop.running() == {"web": [10], "worker": [10]}


async def test_while_a_rollout_runs_what_it_may_go_back_to_stays(shop: Core) -> None:
    shop.policy = replace(shop.policy, releases_kept=1)
    first = await push(shop, sha="a1")
    shop.engine.hold("shop", "web")
    later = [await push(shop, sha=f"b{number}") for number in range(4)]  # each supersedes the one before
    assert await kept(shop) == {first, *later[1:]}
    shop.engine.fail("shop", "web")
    await shop.reconcile()
    shop.engine.heal("shop", "web")
    await shop.reconcile()
    assert await shop.running() == {"web": [2]}
    assert first in await kept(shop)


async def test_an_automatic_rollback_takes_no_release_that_is_not_kept(shop: Core) -> None:
    """What v3 ran has failed meanwhile, and v2 is too old: the failed release stays for people to look at."""
    shop.policy = replace(shop.policy, releases_kept=1)
    await push(shop, sha="a1")
    async with shop.work() as uow:
        await AppSettingsService(uow).change("shop", {"autorollback": False}, actor=ANA)
    shop.engine.fail("shop", "web")
    await push(shop, sha="b1")
    async with shop.work() as uow:
        await AppSettingsService(uow).change("shop", {"autorollback": True}, actor=ANA)
    await push(shop, sha="b2")
    release = await shop.release(4)
    assert release.failed
    assert "Rolled back" not in str(release.conditions[0]["exception"])


async def test_all_stays_where_nothing_else_was_said(core: Core) -> None:
    await core.app()
    builds = [await push(core, sha=f"a{number}") for number in range(5)]
    assert await kept(core) == set(builds)
    await roll_back(core, 2)
