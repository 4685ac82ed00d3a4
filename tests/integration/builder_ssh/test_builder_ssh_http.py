"""Builds over HTTP, and what happens to them when their app goes."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from integration.builder_ssh.world import World, commit, open_world
from shared.events import AppDeleted, Envelope, ReleaseDeployed, ReleaseFailed
from support import eventually
from support.fixtures import MakeDatabase

APP: dict[str, str | bytes] = {"Procfile": "web: x\n"}


async def test_builds_and_their_logs_can_be_read(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    async with world.http() as client:
        (build,) = (await client.get("/builds", params={"app": "shop"})).json()["builds"]
        one = (await client.get(f"/builds/{build['id']}")).json()
        log = await client.get(f"/builds/{build['id']}/log")
        rest = await client.get(f"/builds/{build['id']}/log", params={"offset": 5})

    assert one == build
    assert (build["state"], build["verdict"], build["release_version"]) == ("succeeded", "deployed", 2)
    assert log.headers["content-type"] == "text/plain; charset=utf-8"
    assert "Scripted build" in log.text
    assert "Done, shop:v2 deployed" in log.text
    assert rest.text == log.text[5:]


async def test_pages_are_newest_first(world: World) -> None:
    cy = world.add_user("cy", "one", "two", "three")
    source = world.path / "source"
    await commit(source, {"Procfile": "web: x\n"})
    for app in ("one", "two", "three"):
        await world.push(cy, source, app)
    async with world.http() as client:
        first = (await client.get("/builds", params={"limit": 2})).json()
        second = (await client.get("/builds", params={"limit": 2, "before": first["next"]})).json()

    assert [build["app"] for build in first["builds"]] == ["three", "two"]
    assert [build["app"] for build in second["builds"]] == ["one"]
    assert second["next"] is None


@pytest.mark.parametrize("offset", [10**6, 2**63 - 1, 2**63, 10**30])
async def test_beyond_the_end_of_a_log_there_is_nothing(world: World, ana: Path, source: Path, offset: int) -> None:
    await world.push(ana, source, "shop")
    build_id = world.runner.specs[0].build_id
    async with world.http() as client:
        for follow in (False, True):
            log = await client.get(f"/builds/{build_id}/log", params={"offset": offset, "follow": follow})
            assert (log.status_code, log.content) == (200, b"")


async def test_a_name_that_no_app_can_have_is_bad_input(world: World) -> None:
    async with world.http() as client:
        assert (await client.get("/builds", params={"app": "shop\0"})).status_code == 422


async def test_a_running_log_is_followed_to_its_end(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)
    (build_id,) = world.runner.running
    async with world.http() as client:
        following = asyncio.create_task(client.get(f"/builds/{build_id}/log", params={"follow": True}))
        world.runner.may_end.set()
        assert "Done, shop:v2 deployed" in (await following).text
    await pushing


async def test_a_build_can_be_cancelled(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)
    (build_id,) = world.runner.running
    async with world.http() as client:
        answer = await client.post(f"/builds/{build_id}/cancel")
        again = await client.post(f"/builds/{build_id}/cancel")
    outcome = await pushing

    assert answer.json()["state"] == "cancelled"
    assert again.status_code == 409
    assert outcome.status == 1
    assert "!     Build cancelled (cancelled): controller cancelled the build" in outcome.output
    await eventually(lambda: world.event_types()[-1] == "build.cancelled")
    assert world.runner.cancelled == [build_id]


async def test_scopes_are_checked(world: World) -> None:
    async with world.http("builder:read") as client:
        assert (await client.get(f"/builds/{uuid4()}")).status_code == 404
        assert (await client.post(f"/builds/{uuid4()}/cancel")).status_code == 403
        client.headers.pop("Authorization")
        assert (await client.get("/builds")).status_code == 401


async def test_health(world: World) -> None:
    async with world.http() as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readiness")).status_code == 200
        assert (await client.get("/metrics")).status_code == 200


async def test_a_deleted_app_leaves_nothing_and_a_late_event_no_harm(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    event = Envelope.wrap(AppDeleted(app="shop", actor="ana"), source="/services/controller")
    await world.bus.publish(event)

    assert not (world.settings.repos / "shop.git").exists()
    assert not (world.settings.build_logs / "shop").exists()
    assert world.runner.discarded[-1] == ("shop", None)
    async with world.http() as client:
        assert (await client.get("/builds", params={"app": "shop"})).json()["builds"] == []
    assert (await world.push(ana, source, "shop")).status == 0
    await world.bus.publish(event)
    assert (world.settings.repos / "shop.git").exists()


async def test_deleting_an_app_stops_its_build(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)

    await world.publish(AppDeleted(app="shop", actor="ana"))

    assert "shop was deleted" in (await pushing).output
    assert not (world.settings.repos / "shop.git").exists()


async def test_deleting_an_app_ends_the_wait_for_its_release(world: World, ana: Path, source: Path) -> None:
    world.deploys = False
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: "build.succeeded" in world.event_types())

    await world.publish(AppDeleted(app="shop", actor="ana"))

    outcome = await asyncio.wait_for(pushing, 10)
    assert outcome.status == 1
    assert "No release was made (app-gone): shop was deleted" in outcome.output


async def test_a_later_release_of_a_build_does_not_change_its_verdict(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    (build,) = await world.context.records.page(app="shop", before=None, limit=1)
    facts = {"app": "shop", "version": 3, "build_id": build.id}
    failed = ReleaseFailed(**facts, code="process-crashed", ptype="web", message="no")
    envelope = Envelope.wrap(failed, source="/services/controller")
    for _ in range(2):
        await world.bus.publish(envelope)
    await world.publish(ReleaseDeployed(**facts, sha=build.sha, actor="ana", summary=""))

    after = await world.context.records.get(build.id)

    assert (after.verdict, after.release_version) == ("deployed", 2)
    assert after.deployed_at > build.deployed_at


async def test_news_of_releases_may_come_late_and_in_another_order(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    await commit(source, {"new": "1"})
    await world.push(ana, source, "shop")
    old, new = (spec.build_id for spec in world.runner.specs)
    facts: dict[str, Any] = {"app": "shop", "sha": "0" * 40, "actor": "ana", "summary": ""}
    back = Envelope.wrap(ReleaseDeployed(**facts, version=4, build_id=old), source="/services/controller")
    forth = Envelope.wrap(ReleaseDeployed(**facts, version=5, build_id=new), source="/services/controller")
    for envelope in (forth, back):
        await world.bus.publish(envelope)

    assert await world.context.records.deployed_last("shop") == new
    assert (await world.context.records.get(old)).deployed_at == back.time


async def test_a_build_more_than_stay_is_followed_by_a_look_at_what_may_go(
    short_path: Path, make_database: MakeDatabase
) -> None:
    async with open_world(short_path, await make_database("builder"), builds_kept=2) as world:
        key, source = world.add_user("ana", "shop"), short_path / "app"
        for number in range(3):
            await commit(source, APP | {"change": str(number)})
            assert (await world.push(key, source, "shop")).status == 0
        await eventually(lambda: world.runner.discarded)
        assert world.runner.discarded == [("shop", {spec.build_id for spec in world.runner.specs[1:]})]


async def test_builds_whose_release_failed_are_tidied_too(short_path: Path, make_database: MakeDatabase) -> None:
    async with open_world(short_path, await make_database("builder"), builds_kept=1) as world:
        key, source = world.add_user("ana", "shop"), short_path / "app"
        await commit(source, APP)
        assert (await world.push(key, source, "shop")).status == 0
        world.deploys = False
        await commit(source, APP | {"change": "1"})
        pushing = asyncio.create_task(world.push(key, source, "shop"))
        await eventually(lambda: world.event_types().count("build.succeeded") == 2)
        ran, failed = (spec.build_id for spec in world.runner.specs)
        await world.publish(ReleaseFailed(app="shop", version=3, build_id=failed, code="x", ptype="web", message="no"))
        assert (await pushing).status == 1
        await eventually(lambda: world.runner.discarded)
        assert world.runner.discarded == [("shop", {ran, failed})]  # what ran last, and the newest one in any case


async def test_a_builder_of_this_machine_gives_no_sources(world: World) -> None:
    async with world.http() as client:
        assert (await client.get(f"/builds/{uuid4()}/source")).status_code == 404
