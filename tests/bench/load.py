"""A load generator for one server on this machine: plain HTTP/1.1 over kept connections, bounded in count and time.

Two ways: `saturate` sends the next request of a connection when the last one was answered, which gives the most that
the server can do; `at_rate` sends on a schedule, and counts the time from when a request should have gone out, so that
a server that stalls cannot hide it (no coordinated omission).
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import cast

Request = Callable[[int], bytes]
"""The bytes of the request with that number."""


@dataclass
class Load:
    """What came back: `seconds` per answer, how many were not 2xx, and how long all of it took."""

    seconds: list[float] = field(default_factory=list)
    refused: int = 0
    took: float = 0.0
    statuses: dict[int, int] = field(default_factory=dict)

    @property
    def per_second(self) -> float:
        """Answers per second."""
        return len(self.seconds) / self.took

    def percentile_ms(self, share: float) -> float:
        """The time within which that share of all answers came, in milliseconds."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


def request_bytes(method: str, path: str, *, token: str, body: bytes = b"") -> bytes:
    """One request as a client sends it, on a connection that stays."""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: drycc.test",
        f"Authorization: token {token}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    return "\r\n".join([*head, "", ""]).encode() + body


async def saturate(host: str, port: int, request: Request, *, connections: int, seconds: float) -> Load:
    """As many requests as the server answers on that many connections in that time."""
    load, numbers = Load(), itertools.count()
    started = time.perf_counter()
    end = started + seconds

    async def client() -> None:
        connection = await _Connection.open(host, port)
        try:
            while time.perf_counter() < end:
                await _exchange(connection, request(next(numbers)), load, since=time.perf_counter())
        finally:
            connection.close()

    await _all(client() for _ in range(connections))
    load.took = time.perf_counter() - started
    return load


async def at_rate(host: str, port: int, request: Request, *, rate: float, connections: int, seconds: float) -> Load:
    """`rate` requests a second for that time, in a schedule without pauses."""
    load, numbers = Load(), itertools.count()
    total = int(rate * seconds)
    started = time.perf_counter()

    async def client() -> None:
        connection = await _Connection.open(host, port)
        try:
            while (number := next(numbers)) < total:
                due = started + number / rate
                if (pause := due - time.perf_counter()) > 0:
                    await asyncio.sleep(pause)
                if connection.is_lost:  # a server ends what was idle for some seconds
                    connection = await _Connection.open(host, port)
                await _exchange(connection, request(number), load, since=due)
        finally:
            connection.close()

    await _all(client() for _ in range(connections))
    load.took = time.perf_counter() - started
    return load


async def count(host: str, port: int, request: Request, *, connections: int, total: int) -> Load:
    """Exactly so many requests."""
    load, numbers = Load(), itertools.count()
    started = time.perf_counter()

    async def client() -> None:
        connection = await _Connection.open(host, port)
        try:
            while (number := next(numbers)) < total:
                await _exchange(connection, request(number), load, since=time.perf_counter())
        finally:
            connection.close()

    await _all(client() for _ in range(connections))
    load.took = time.perf_counter() - started
    return load


async def _exchange(connection: _Connection, data: bytes, load: Load, *, since: float) -> None:
    status = await connection.ask(data)
    load.seconds.append(time.perf_counter() - since)
    load.statuses[status] = load.statuses.get(status, 0) + 1
    if not 200 <= status < 300:
        load.refused += 1


async def _all(clients: Iterator[object]) -> None:
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(client)  # type: ignore[arg-type]  # a generator of coroutines


class _Connection(asyncio.Protocol):
    """One connection with one request under way at a time; reads just enough of an answer to know its end."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._buffer = bytearray()
        self._answer: asyncio.Future[int] | None = None
        self.is_lost = False

    @classmethod
    async def open(cls, host: str, port: int) -> _Connection:
        """A new connection."""
        _, protocol = await asyncio.get_running_loop().create_connection(cls, host, port)
        return protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is none by class

    async def ask(self, data: bytes) -> int:
        """Send one request; the status of its answer."""
        assert self._transport is not None
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(data)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Finish the answer when all of it is here."""
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        head = bytes(self._buffer[:end]).lower()
        place = head.find(b"content-length:")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0]) if place >= 0 else 0
        if len(self._buffer) < end + 4 + length:
            return
        del self._buffer[: end + 4 + length]
        answer, self._answer = self._answer, None
        answer.set_result(int(head[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """The request under way gets no answer any more."""
        self.is_lost = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError("the server closed the connection"))

    def close(self) -> None:
        """End it."""
        if self._transport is not None:
            self._transport.close()
