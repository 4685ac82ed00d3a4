"""The edge with a real Caddy: routes, pages, odd hosts, rolling restarts under traffic, recovery."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from controller.domain.spec import AppSpec, RouteSpec
from controller.engine.local.edgefiles import EdgeFiles, Place
from controller.engine.port import NotSupportedError
from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, HOST, Bench, TestEdge
from support.traffic import Traffic

# Beside hosts that no app has: ways out of the directory of hosts, patterns and placeholders that would stand for shop.
NOBODYS = (
    *("", ".", "..", "../places", "..%2fplaces", "%2e%2e", "shop.web", "../places/shop.web", "/shop.localhost"),
    *("*", "*.localhost", "sh?p.localhost", "[s]hop.localhost", "{shop}.localhost", "\\shop.localhost"),
    *("shop.localhost.", "shop..localhost", ".shop.localhost", "shop.localhost/.", "shop%2elocalhost", ".new"),
    *("{http.request.uuid}", "shop", "localhost", "a" * 254, "a" * 5000, "shop.localhost:80:80", "[::1]:80"),
)


async def get(edge: TestEdge, host: str = HOST) -> httpx.Response:
    async with httpx.AsyncClient(trust_env=False) as client:
        return await client.get(edge.url, headers={"Host": host})


async def test_requests_reach_every_ready_instance(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD, replicas=3)
    await edged.apply(spec)
    observation = await edged.settled(spec)
    seen = await _shares(edge, 300)
    assert set(seen) == {instance.name for instance in observation.instances}
    assert min(seen.values()) > 60
    assert (await get(edge, "other.localhost")).status_code == 404


async def _shares(edge: TestEdge, requests: int) -> Counter[str]:
    """How many of so many requests each instance answers."""
    async with httpx.AsyncClient(trust_env=False, headers={"Host": HOST}) as client:
        return Counter([(await client.get(edge.url)).text.split()[1] for _ in range(requests)])


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
    assert not list(edge.directory.glob("*/*"))


async def test_a_host_is_routed_whatever_its_case_and_port(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    for host in ("shop.localhost", "SHOP.localhost", "Shop.LocalHost:80", f"shop.localhost:{edge.port}"):
        assert (await get(edge, host)).status_code == 200, host


async def test_a_host_that_is_nobodys_leads_nowhere(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    assert {host: await _raw_status(edge, host) for host in NOBODYS} == dict.fromkeys(NOBODYS, "refused")


async def _raw_status(edge: TestEdge, host: str) -> str:
    """The answer for a host as it is, which clients would tidy up; "refused" for 400 and 404."""
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    writer.write(f"GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status = (await reader.readline()).decode().split()[1]
    writer.close()
    return "refused" if status in ("400", "404") else status


async def test_a_host_that_cannot_be_routed_is_refused(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    with pytest.raises(NotSupportedError, match=r"cannot route '\*\.example\.org': choose a name of letters"):
        await edged.engine.apply(AppSpec(APP, (spec,), (RouteSpec(HOST, "web"), RouteSpec("*.example.org", "web"))))
    assert (await get(edge)).status_code == 404


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
    seen = await _shares(edge, 400)
    assert set(seen) == {instance.name for instance in observation.instances}


@pytest.mark.parametrize("keep_alive", [True, False])
async def test_what_other_apps_do_drops_no_request(edged: Bench, edge: TestEdge, keep_alive: bool) -> None:
    spec = edged.process(apps.GOOD, env={"NAME": "v1", "DELAY": "0.02"})
    await edged.apply(spec)
    await edged.settled(spec)
    traffic = Traffic(edge.url, host=HOST, rate=200, limit=6000, keep_alive=keep_alive)
    stream = asyncio.create_task(traffic.run())
    await asyncio.gather(_live(edged, "blog"), _live(edged, "wiki"))
    await _answered(traffic, "v1")
    traffic.stop()
    outcome = await stream
    assert outcome.failures == []
    assert set(outcome.answers) == {"v1"}


async def _live(bench: Bench, app: str) -> None:
    """An app comes, is scaled, gets a new release and is removed, twice."""
    spec = bench.process(apps.GOOD, app=app)
    for release in (2, 4):
        for wanted in (
            replace(spec, release=release),
            replace(spec, release=release, replicas=3),
            replace(spec, release=release + 1, env={"NAME": "v2"}),
            replace(spec, release=release + 1, env={"NAME": "v2"}, replicas=0),
        ):
            await bench.apply(wanted, app=app)
            await bench.settled(wanted, app=app)
        await bench.engine.remove(app)


async def test_a_kept_connection_outlives_what_other_apps_do(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    reader, writer = await asyncio.open_connection("127.0.0.1", edge.port)
    try:
        for _ in range(3):
            other = edged.process(apps.GOOD, app="blog")
            await edged.apply(other, app="blog")
            await edged.settled(other, app="blog")
            writer.write(f"GET / HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200")
            assert (await reader.readline()).startswith(b"v1 ")
            await edged.engine.remove("blog")
    finally:
        writer.close()


async def test_a_request_whose_instance_is_gone_is_led_to_the_next(edge: TestEdge) -> None:
    files, place = EdgeFiles(edge.directory), Place(APP, "web")
    files.reset()
    asked = asyncio.Event()

    async def vanish(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        old.close()
        writer.close()
        asked.set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        writer.close()

    old = await asyncio.start_server(vanish, "127.0.0.1", 0)
    new = await asyncio.start_server(answer, "127.0.0.1", 0)
    files.write(place, [_address(old)])
    files.route(APP, {HOST: place})
    async with new:
        request = asyncio.create_task(get(edge))
        await asked.wait()
        files.write(place, [_address(new)])
        assert (await request).status_code == 200


async def test_a_post_that_the_app_has_seen_is_not_sent_again(edge: TestEdge) -> None:
    files, place = EdgeFiles(edge.directory), Place(APP, "web")
    files.reset()
    seen = 0

    async def hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await reader.readuntil(b"\r\n\r\n")
        seen += 1
        writer.close()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    files.write(place, [_address(server)])
    files.route(APP, {HOST: place})
    async with server, httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(edge.url, headers={"Host": HOST}, content=b"once")
    assert (answer.status_code, seen) == (502, 1)


def _address(server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()
    return f"{host}:{port}"


async def test_routes_outlive_caddy(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    await edge.stop()
    await edge.start()
    assert (await get(edge)).status_code == 200


async def test_an_engine_may_start_before_its_edge(edged: Bench, edge: TestEdge) -> None:
    await edge.stop()
    spec = edged.process(apps.GOOD)
    await edged.apply(spec)
    await edged.settled(spec)
    await edge.start()
    assert (await get(edge)).status_code == 200


async def test_a_long_answer_is_let_through_before_the_instance_ends(edged: Bench, edge: TestEdge) -> None:
    spec = edged.process(apps.GOOD, env={"NAME": "v1", "DELAY": "1.5"}, grace_period=timedelta(seconds=1))
    await edged.apply(spec)
    await edged.settled(spec)
    pending = asyncio.create_task(get(edge))
    sheet = min(edge.directory.glob("hosts/shop.localhost/*"))
    port = int(sheet.name.rpartition(":")[2])
    await eventually(lambda: _is_connected(port))
    new = replace(spec, env={"NAME": "v2"})
    await edged.apply(new)
    await edged.settled(new)
    assert (await pending).text.startswith("v1 ")


async def _is_connected(port: int) -> bool:
    from controller.engine.local.census import Census

    return await Census("").open_connections(port) > 0
