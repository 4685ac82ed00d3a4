"""The edge under changes of its routes and crashes: a real Caddy, real connections, nothing dropped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from controller.engine.local.edgefiles import EdgeFiles, Place
from shared.testing.wait import eventually
from standalone.caddy import Caddy
from standalone.errors import StartFailedError
from standalone.health import all_health
from standalone.home import Config, Home

HOST = "shop.localhost"
WEB = Place("shop", "web")
ASKERS = 8
CHANGES = 60


@pytest.fixture
def home() -> Iterator[Home]:
    """A data directory with a path short enough for unix sockets, and with characters that mean something to Caddy."""
    path = Path(tempfile.mkdtemp(prefix="[x]{y}*"))
    home = Home(path)
    home.prepare()
    yield home
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def config() -> Config:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Config(http_port=free.getsockname()[1])


@pytest.fixture
def files(home: Home) -> EdgeFiles:
    """What the engine writes."""
    files = EdgeFiles(home.edge)
    files.reset()
    return files


@pytest_asyncio.fixture
async def caddy(home: Home, config: Config) -> AsyncIterator[Caddy]:
    """A running edge."""
    caddy = Caddy(home, config, environment={})
    await caddy.start()
    try:
        yield caddy
    finally:
        await caddy.stop()


@pytest_asyncio.fixture
async def instances() -> AsyncIterator[list[str]]:
    """Addresses of four servers that answer every request."""
    servers = [await asyncio.start_server(_serve, "127.0.0.1", 0) for _ in range(4)]
    yield [f"127.0.0.1:{server.sockets[0].getsockname()[1]}" for server in servers]
    for server in servers:
        server.close()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            await writer.drain()
    writer.close()


class Askers:
    """Clients that ask one after the other until told to stop; half of them with a new connection for each request."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._changing = True
        self.answers: Counter[str] = Counter()
        self._tasks = [asyncio.create_task(self._ask(fresh=bool(number % 2))) for number in range(ASKERS)]

    async def stop(self) -> Counter[str]:
        """Status lines, an empty one for a request without an answer."""
        self._changing = False
        await asyncio.gather(*self._tasks)
        return self.answers

    async def next_round(self) -> None:
        """Until there are more new answers than there are askers."""
        count = self.answers.total() + ASKERS

        async def is_reached() -> bool:
            return self.answers.total() > count

        await eventually(is_reached)

    async def _ask(self, *, fresh: bool) -> None:
        while self._changing:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._config.http_port)
            try:
                while self._changing:
                    writer.write(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % HOST.encode())
                    await writer.drain()
                    self.answers[(await _head(reader)).partition("\r\n")[0]] += 1
                    if fresh:
                        break
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()


async def _head(reader: asyncio.StreamReader) -> str:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode()
    except (asyncio.IncompleteReadError, ConnectionError):
        return ""


async def test_nothing_is_dropped_while_routes_change(
    config: Config, files: EdgeFiles, caddy: Caddy, instances: list[str]
) -> None:
    files.write(WEB, instances[:1])
    files.route("shop", {HOST: WEB})
    askers = Askers(config)
    for number in range(CHANGES):
        # The askers' own app goes from one to four instances and back, another app comes and goes.
        await asyncio.to_thread(files.write, WEB, instances[: number % 4 + 1])
        other = Place(f"app{number}", "web")
        await asyncio.to_thread(files.route, other.app, {f"{other.app}.localhost": other})
        await askers.next_round()
        await asyncio.to_thread(files.route, other.app, {})
        await asyncio.to_thread(files.remove, other.app)
    assert set(await askers.stop()) == {"HTTP/1.1 200 OK"}


async def test_changes_without_a_pause_drop_nothing(
    config: Config, files: EdgeFiles, caddy: Caddy, instances: list[str]
) -> None:
    files.write(WEB, instances[:1])
    files.route("shop", {HOST: WEB})
    askers = Askers(config)
    for number in range(50 * CHANGES):
        await asyncio.to_thread(files.write, WEB, [instances[number % 4]])
    answers = await askers.stop()
    assert set(answers) == {"HTTP/1.1 200 OK"}


async def test_a_crash_keeps_the_routes_and_the_connections_that_wait(
    config: Config, files: EdgeFiles, caddy: Caddy, instances: list[str]
) -> None:
    files.write(WEB, instances)
    files.route("shop", {HOST: WEB})
    supervisor = asyncio.create_task(caddy.supervise())
    try:
        pid = caddy.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await eventually(lambda: _is_gone(caddy, pid))
        # The socket outlives the program: this connection waits in its queue until the next one takes it.
        async with httpx.AsyncClient(trust_env=False) as client:
            url = f"http://127.0.0.1:{config.http_port}/"
            assert (await client.get(url, headers={"Host": HOST}, timeout=10)).status_code == 200
    finally:
        supervisor.cancel()
        await asyncio.wait({supervisor})


async def _is_gone(caddy: Caddy, pid: int) -> bool:
    return caddy.pid != pid


async def test_an_edge_that_has_ended_is_not_healthy(home: Home, config: Config, caddy: Caddy) -> None:
    async def edge() -> tuple[bool, str]:
        health = next(one for one in await all_health(home, config) if one.component == "edge")
        return health.healthy, health.detail

    assert await edge() == (True, f"port {config.http_port}")
    assert caddy.pid is not None
    os.kill(caddy.pid, signal.SIGKILL)
    await eventually(lambda: _is_gone(caddy, 0))
    healthy, detail = await edge()
    assert not healthy
    assert detail.startswith(f"does not answer on port {config.http_port}")


async def test_the_platforms_own_hosts_are_led_to_its_services(home: Home, config: Config, caddy: Caddy) -> None:
    async with httpx.AsyncClient(trust_env=False, base_url=f"http://127.0.0.1:{config.http_port}") as client:
        for service, host in (("controller", "drycc.localhost"), ("passport", "drycc-passport.localhost")):
            async with await asyncio.start_unix_server(_serve, home.socket(service)):
                assert (await client.get("/", headers={"Host": host})).status_code == 200
                assert (await client.get("/metrics", headers={"Host": host})).status_code == 404


async def test_its_log_does_not_grow_with_requests(
    home: Home, config: Config, files: EdgeFiles, caddy: Caddy, instances: list[str]
) -> None:
    files.write(WEB, instances)
    files.route("shop", {HOST: WEB})
    before = home.caddy_log.read_text()
    async with httpx.AsyncClient(trust_env=False) as client:
        for host in (HOST, HOST.upper(), "nobody.localhost") * 5:
            await client.get(f"http://127.0.0.1:{config.http_port}/", headers={"Host": host})
    assert home.caddy_log.read_text() == before


async def test_a_port_in_use_is_named(home: Home, config: Config) -> None:
    expected = pytest.raises(StartFailedError, match=f"cannot listen on 127.0.0.1:{config.http_port}")
    with socket.create_server(("127.0.0.1", config.http_port)), expected:
        await Caddy(home, config, environment={}).start()


async def test_an_edge_that_ends_at_once_says_why(home: Home, config: Config) -> None:
    config.domain = "xn--\u00fc.localhost"
    caddy = Caddy(home, config, environment={})
    try:
        with pytest.raises(StartFailedError, match=r"the edge ended at once: .*hostname"):
            await caddy.start()
    finally:
        await caddy.stop()
