"""The edge with a real Caddy: routes, pages, rolling restarts under traffic, recovery."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, HOST, Bench, TestEdge
from support.traffic import Traffic


async def get(edge: TestEdge, host: str = HOST) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(edge.url, headers={"Host": host})


async def test_requests_reach_every_ready_instance(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD, replicas=3)
    await edged.apply(spec)
    observation = await edged.settled(spec)
    seen = {(await get(edge)).text.split()[1] for _ in range(24)}
    assert seen == {instance.name for instance in observation.instances}
    assert (await get(edge, "other.localhost")).status_code == 404


async def test_an_app_without_a_ready_instance_says_so(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(replace(spec, replicas=0))
    await edged.settled(replace(spec, replicas=0))
    answer = await get(edge)
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.text == "shop has no running web process; see `drycc apps logs`\n"
    await edged.apply(spec)
    await edged.settled(spec)
    assert (await get(edge)).status_code == 200


async def test_an_app_without_routes_is_not_reachable(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    await edged.apply(spec, routed=False)
    await eventually(lambda: _status(edge, 404))
    await edged.apply(spec)
    await edged.settled(spec)
    assert (await get(edge)).status_code == 200
    await edged.engine.remove(APP)
    assert (await get(edge)).status_code == 404
    assert not list((edged.config.run_dir / "edge").iterdir())


async def _status(edge: TestEdge, status: int) -> bool:
    return (await get(edge)).status_code == status


@pytest.mark.parametrize(
    ("keep_alive", "method", "replicas"), [(True, "GET", 1), (True, "POST", 2), (False, "GET", 2), (False, "POST", 1)]
)
async def test_no_request_is_dropped_in_a_rolling_restart(
    edged: Bench, edge: TestEdge, keep_alive: bool, method: str, replicas: int
) -> None:
    # The app stops dead at SIGTERM and takes 20 ms for an answer, so requests are always in flight.
    spec = edged.process(apps.GOOD, replicas=replicas, env={"NAME": "v1", "DELAY": "0.02"})
    await edged.apply(spec)
    await edged.settled(spec)
    traffic = Traffic(edge.url, host=HOST, rate=200, limit=6000, keep_alive=keep_alive, method=method)
    stream = asyncio.create_task(traffic.run())
    for number in (2, 3):
        await _answered(traffic, f"v{number - 1}")
        new = replace(spec, env={"NAME": f"v{number}", "DELAY": "0.02"}, release=number)
        await edged.apply(new)
        await edged.settled(new)
        await eventually(lambda: _count(edged, replicas))
    await _answered(traffic, "v3")
    traffic.stop()
    outcome = await stream
    assert outcome.failures == []
    assert set(outcome.answers) == {"v1", "v2", "v3"}


async def _answered(traffic: Traffic, name: str) -> None:
    await eventually(lambda: traffic.outcome.answers[name] > 20)


async def _count(bench: Bench, count: int) -> bool:
    return len((await bench.engine.observe(APP)).instances) == count


async def test_more_replicas_than_slots(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD, replicas=14)
    await edged.apply(spec)
    observation = await edged.settled(spec, timeout=40)
    seen = {(await get(edge)).text.split()[1] for _ in range(60)}
    assert seen == {instance.name for instance in observation.instances}


async def test_routes_come_back_when_caddy_has_lost_them(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    await edge.stop()
    await edge.start()
    await eventually(lambda: _status(edge, 200))


async def test_an_engine_may_start_before_its_edge(edged: Bench, edge: TestEdge) -> None:
    await edge.stop()
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await eventually(lambda: _ready(edged))
    assert not (await edged.state()).settled
    await edge.start()
    await edged.settled(spec)
    assert (await get(edge)).status_code == 200


async def _ready(bench: Bench) -> bool:
    return (await bench.state()).ready == 1


async def test_a_long_answer_is_let_through_before_the_instance_ends(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD, env={"NAME": "v1", "DELAY": "1.5"}, grace_period=timedelta(seconds=1))
    await edged.apply(spec)
    await edged.settled(spec)
    pending = asyncio.create_task(get(edge))
    port = int((edged.config.run_dir / "edge" / "shop.web" / "0").read_text().split(":")[1])
    await eventually(lambda: _is_connected(port))
    new = replace(spec, env={"NAME": "v2"})
    await edged.apply(new)
    await edged.settled(new)
    assert (await pending).text.startswith("v1 ")


async def _is_connected(port: int) -> bool:
    from controller.engine.local.census import Census

    return await Census("").open_connections(port) > 0
