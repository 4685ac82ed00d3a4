"""The edge under changes of its routes: a real Caddy, real connections, nothing dropped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from standalone.caddy import Caddy
from standalone.errors import StartFailedError
from standalone.home import Config, Home

REQUEST = b"GET / HTTP/1.1\r\nHost: nobody.localhost\r\nConnection: close\r\n\r\n"


@pytest.fixture
def home() -> Iterator[Home]:
    """A data directory with a path short enough for unix sockets."""
    path = Path(tempfile.mkdtemp(prefix="wf-"))
    home = Home(path)
    home.prepare()
    yield home
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def config() -> Config:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return Config(http_port=free.getsockname()[1])


async def _answer(config: Config) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", config.http_port)
    try:
        writer.write(REQUEST)
        await writer.drain()
        return await reader.readline()
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def _set_route(home: Home, number: int) -> None:
    route = {
        "match": [{"host": [f"app{number}.localhost"]}],
        "handle": [{"handler": "static_response", "body": f"app {number}"}],
        "terminal": True,
    }
    value = {"@id": "apps", "handle": [{"handler": "subroute", "routes": [route]}]}
    transport = httpx.AsyncHTTPTransport(uds=str(home.caddy_admin))
    async with httpx.AsyncClient(transport=transport, base_url="http://caddy") as client:
        (await client.patch("/id/apps", json=value)).raise_for_status()


async def test_no_connection_is_dropped_while_routes_change(home: Home, config: Config) -> None:
    caddy = Caddy(home, config, environment={})
    await caddy.start()
    try:
        changing = True

        async def ask() -> list[bytes]:
            answers = []
            while changing:
                answers.append(await _answer(config))
            return answers

        askers = [asyncio.create_task(ask()) for _ in range(8)]
        for number in range(60):
            await _set_route(home, number)
        changing = False
        answers = [answer for asker in askers for answer in await asker]
    finally:
        await caddy.stop()
    assert len(answers) > 100
    assert set(answers) == {b"HTTP/1.1 404 Not Found\r\n"}


async def test_a_crash_keeps_the_routes_and_the_connections_that_wait(home: Home, config: Config) -> None:
    caddy = Caddy(home, config, environment={})
    await caddy.start()
    supervisor = asyncio.create_task(caddy.supervise())
    try:
        await _set_route(home, 7)
        assert caddy.pid is not None
        os.kill(caddy.pid, signal.SIGKILL)
        await asyncio.sleep(0.05)
        # The socket outlives the program: this connection waits in its queue until the next one takes it.
        async with httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{config.http_port}/"
            answer = await client.get(url, headers={"Host": "app7.localhost"}, timeout=10)
        assert answer.text == "app 7"
    finally:
        supervisor.cancel()
        await caddy.stop()


async def test_a_port_in_use_is_named(home: Home, config: Config) -> None:
    with socket.create_server(("127.0.0.1", config.http_port)):
        with pytest.raises(StartFailedError, match=f"cannot listen on 127.0.0.1:{config.http_port}"):
            await Caddy(home, config, environment={}).start()
