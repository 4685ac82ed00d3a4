"""A line to a server that a test can cut: what a network does that no server can be made to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Final, Self, TypeVar
from urllib.parse import urlsplit

from sqlalchemy import make_url

from support.faulty_api_server import write_kubeconfig

_CHUNK: Final = 65536
_Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]


class TcpProxy:
    """Listens on a port of this machine and passes everything on, until it is cut."""

    def __init__(self, host: str, port: int) -> None:
        self._connect: _Connect = partial(asyncio.open_connection, host, port)
        self._server: asyncio.Server | None = None
        self._lines: set[asyncio.Task[None]] = set()
        self._is_passing = asyncio.Event()
        self._is_passing.set()
        self.port = 0

    @classmethod
    def to_socket(cls, path: Path) -> Self:
        """One to a unix socket."""
        proxy = cls("", 0)
        proxy._connect = partial(asyncio.open_unix_connection, path)
        return proxy

    async def open(self) -> None:
        """Take connections, at the same port as before."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    @property
    def is_open(self) -> bool:
        """Whether it takes connections."""
        return self._server is not None and self._server.is_serving()

    async def cut(self) -> None:
        """Break all connections and take no more."""
        if self._server is not None:
            self._server.close()
        for line in self._lines:
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)

    def hold(self) -> None:
        """Take everything and pass nothing on, as a network that loses packets: connections do not break."""
        self._is_passing.clear()

    def release(self) -> None:
        """Pass on what was held, and go on."""
        self._is_passing.set()

    def strand(self) -> None:
        """Pass on nothing more of the connections that there are, as when a way is lost; new ones find another."""
        self._is_passing.clear()
        self._is_passing = asyncio.Event()
        self._is_passing.set()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = asyncio.current_task()
        assert line is not None
        self._lines.add(line)
        writers = [writer]
        try:
            their_reader, their_writer = await self._connect()
            writers.append(their_writer)
            async with asyncio.TaskGroup() as group:
                passing = self._is_passing
                group.create_task(self._pass(reader, their_writer, passing))
                group.create_task(self._pass(their_reader, writer, passing))
        except* OSError:
            pass  # either side has ended it
        except* asyncio.CancelledError:
            pass  # a task of the server: nobody waits for it
        finally:
            self._lines.discard(line)
            for one in writers:
                one.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        while data := await reader.read(_CHUNK):
            await passing.wait()
            writer.write(data)
            await writer.drain()
        await passing.wait()
        with suppress(OSError):
            writer.write_eof() if writer.can_write_eof() else writer.close()


P = TypeVar("P", bound="TcpProxy")


@asynccontextmanager
async def line_to_database(url: str, kind: type[P]) -> AsyncIterator[tuple[P, str]]:
    """A line to the PostgreSQL at the unix socket of a URL, and a URL that leads over it."""
    there = make_url(url)
    line = kind.to_socket(Path(str(there.query["host"])) / ".s.PGSQL.5432")
    await line.open()
    try:
        yield line, there.set(host="127.0.0.1", port=line.port, query={}).render_as_string(hide_password=False)
    finally:
        await line.cut()


class LosingProxy(TcpProxy):
    """To a database. It is cut when a commit of something that holds `loses` was passed on, before the answer is."""

    loses: bytes = b""
    losing: asyncio.Task[None] | None = None

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, passing: asyncio.Event) -> None:
        has_seen = False
        while data := await reader.read(_CHUNK):
            await passing.wait()
            has_seen = has_seen or (bool(self.loses) and self.loses in data)
            if has_seen and b"COMMIT" in data and self.losing is None:
                self.hold()
                self.losing = asyncio.create_task(self._lose())
            writer.write(data)
            await writer.drain()
        with suppress(OSError):
            writer.write_eof()

    async def _lose(self) -> None:
        await asyncio.sleep(0.2)  # the server does it meanwhile
        await self.cut()
        self.release()


@asynccontextmanager
async def proxied(kubeconfig: Path, directory: Path) -> AsyncIterator[tuple[TcpProxy, Path]]:
    """A line to the API server of a kubeconfig (in JSON), and a kubeconfig that leads through it."""
    content = json.loads(await asyncio.to_thread(kubeconfig.read_text))
    cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
    server = urlsplit(cluster["server"])
    assert server.hostname is not None
    proxy = TcpProxy(server.hostname, server.port or 443)
    await proxy.open()
    path, here = directory / "kubeconfig-of-the-line", f"https://127.0.0.1:{proxy.port}"
    # Its certificate is for its own name.
    write_kubeconfig(path, here, cluster=cluster | {"server": here, "tls-server-name": server.hostname}, **user)
    try:
        yield proxy, path
    finally:
        proxy.release()
        await proxy.cut()
