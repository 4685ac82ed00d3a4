"""How a request is sent: with a deadline, and again after a pause where that makes sense."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from aiohttp import ClientError, ClientResponse, ClientTimeout, ClientWebSocketResponse, WSServerHandshakeError

from shared.kubernetes.errors import (
    ClusterBusyError,
    ClusterError,
    ClusterSilentError,
    ClusterUnavailableError,
    error_of,
    unreachable,
)
from shared.kubernetes.transport import Access, Transport
from shared.logging import get_logger

DEADLINE_SECONDS: Final = 15.0
JSON: Final = "application/json"
_CONNECT_SECONDS: Final = 5.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 3.0
_KEEP_ALIVE: Final = {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3}
"""A stream whose line is cut without a word breaks after 30 s."""
_MOST_ANSWERS: Final = 5
"""A call that the API server answers with an error of its own (5xx) is sent so often at most. Without any answer it is
sent until the deadline."""
log = get_logger(__name__)
T = TypeVar("T")


@dataclass
class Calls:
    """How many requests have been sent, repeated ones included."""

    reads: int = 0
    writes: int = 0
    watches: int = 0


@dataclass(frozen=True)
class Request:
    """`action` is for errors: "apply Service shop/shop". `may_repeat`: doing it twice is the same as doing it once.

    `is_secret`: errors must not quote what was sent.
    """

    action: str
    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = field(default=None, repr=False)
    content_type: str = JSON
    accept: str = JSON
    may_repeat: bool = True
    is_secret: bool = False


class Caller:
    """Sends requests; errors are `ClusterError`s. `deadline` counts in seconds and covers all repetitions of a call."""

    def __init__(self, access: Access, *, deadline: float) -> None:
        self._transport = Transport(access)
        self._deadline = deadline
        self.counts = Calls()

    async def open(self) -> None:
        """Read the configuration; nothing is sent.

        Raises:
            InvalidInputError: there is no usable configuration.
        """
        await self._transport.open()

    async def close(self) -> None:
        """Close all connections."""
        await self._transport.close()

    async def json(self, request: Request) -> dict[str, Any]:
        """The answer to a call."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._deadline
        pause, attempt, is_renewed = _FIRST_PAUSE_SECONDS, 0, False
        while True:
            attempt += 1
            generation = self._transport.generation
            try:
                return await self._once(request, end - loop.time())
            except ClusterError as exc:
                if exc.http_status == 401 and not is_renewed:
                    is_renewed = True
                    await self._renew(request.action, generation)
                    continue
                wait = _pause_after(exc, request, attempt, pause)
                if wait is None or loop.time() + wait >= end:
                    raise
                log.info("cluster_call_repeated", action=request.action, error=exc.code, pause_seconds=round(wait, 2))
            await asyncio.sleep(wait)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    @asynccontextmanager
    async def stream(
        self, request: Request, *, silence: float | None = None, is_watch: bool = False
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """The body of an answer as it comes. Getting to it has a deadline; after it only `silence` has, in seconds.

        Not repeated, but for a token that has expired.
        """
        answer = await self._renewing(request.action, lambda: self._opened(request, silence, is_watch=is_watch))
        try:
            yield _chunks(request.action, answer)
        finally:
            answer.close()

    async def websocket(
        self,
        action: str,
        path: str,
        *,
        query: Sequence[tuple[str, str]],
        protocols: tuple[str, ...],
        heartbeat: float | None,
    ) -> ClientWebSocketResponse:
        """Open a WebSocket. Only the opening has a deadline. Not repeated, but for a token that has expired."""
        return await self._renewing(action, lambda: self._connected(action, path, query, protocols, heartbeat))

    async def _connected(
        self,
        action: str,
        path: str,
        query: Sequence[tuple[str, str]],
        protocols: tuple[str, ...],
        heartbeat: float | None,
    ) -> ClientWebSocketResponse:
        self.counts.reads += 1
        try:
            async with asyncio.timeout(self._deadline):
                return await self._transport.websocket(path, query=query, protocols=protocols, heartbeat=heartbeat)
        except WSServerHandshakeError as exc:
            raise error_of(action, exc.status, b"") from None
        except (ClientError, OSError, TimeoutError) as exc:
            raise unreachable(action, exc) from None

    async def _renewing(self, action: str, open_it: Callable[[], Awaitable[T]]) -> T:
        """What opens, where need be with a token that has been read anew."""
        generation = self._transport.generation
        try:
            return await open_it()
        except ClusterError as exc:
            if exc.http_status != 401:
                raise
            await self._renew(action, generation)
            return await open_it()

    async def _renew(self, action: str, generation: int) -> None:
        try:
            async with asyncio.timeout(self._deadline):
                await self._transport.renew(generation)
        except TimeoutError as exc:
            raise unreachable(action, exc) from None

    async def _once(self, request: Request, left: float) -> dict[str, Any]:
        # A connection may be dead without saying so: leave time for another one.
        seconds = min(left, self._deadline / 2) if request.may_repeat else left
        self._count(request)
        status, content, headers = await self._exchange(request, seconds)
        if status >= 300:
            raise error_of(request.action, status, content, headers, is_secret=request.is_secret)
        try:
            parsed = json.loads(content)
        except (ValueError, RecursionError):
            parsed = None
        if not isinstance(parsed, dict):
            raise ClusterUnavailableError(request.action, "the answer is not that of an API server")
        return parsed

    async def _exchange(self, request: Request, seconds: float) -> tuple[int, bytes, Mapping[str, str]]:
        try:
            async with asyncio.timeout(seconds):
                answer = await self._send(request, ClientTimeout(total=None, connect=_CONNECT_SECONDS))
                async with answer:
                    return answer.status, await answer.read(), answer.headers
        except (ClientError, OSError, TimeoutError) as exc:
            # `from None`: such an error may show the request.
            raise unreachable(request.action, exc) from None

    async def _opened(self, request: Request, silence: float | None, *, is_watch: bool) -> ClientResponse:
        if is_watch:
            self.counts.watches += 1
        else:
            self._count(request)
        try:
            async with asyncio.timeout(self._deadline):
                timeout = ClientTimeout(total=None, connect=_CONNECT_SECONDS, sock_read=silence)
                answer = await self._send(request, timeout)
                if answer.status < 300:
                    _keep_alive(answer)
                    return answer
                async with answer:
                    content = await answer.read()
        except (ClientError, OSError, TimeoutError) as exc:
            raise unreachable(request.action, exc) from None
        raise error_of(request.action, answer.status, content, answer.headers)

    async def _send(self, request: Request, timeout: ClientTimeout) -> ClientResponse:
        headers = {"Accept": request.accept}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        return await self._transport.request(
            request.method, request.path, query=request.query, headers=headers, body=request.body, timeout=timeout
        )

    def _count(self, request: Request) -> None:
        if request.method == "GET":
            self.counts.reads += 1
        else:
            self.counts.writes += 1


def _keep_alive(answer: ClientResponse) -> None:
    """Have the kernel ask, where nothing happens for a while, whether the other side is still there."""
    transport = answer.connection.transport if answer.connection is not None else None
    line = transport.get_extra_info("socket") if transport is not None else None
    if line is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEP_ALIVE.items():
            line.setsockopt(socket.IPPROTO_TCP, option, value)


async def _chunks(action: str, answer: ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
    except TimeoutError:
        raise ClusterSilentError(action, "nothing was heard for a while") from None
    except (ClientError, OSError) as exc:
        raise unreachable(action, exc) from None


def _pause_after(exc: ClusterError, request: Request, attempt: int, pause: float) -> float | None:
    """Seconds until the request should be sent again; None: never."""
    jittered = random.uniform(pause / 2, pause)  # noqa: S311 - so that callers do not come back all at once
    if isinstance(exc, ClusterBusyError):  # turned away at the door, so even a creation may be repeated
        return jittered if exc.retry_after is None else max(exc.retry_after, jittered)
    if not isinstance(exc, ClusterUnavailableError) or not request.may_repeat:
        return None
    return None if exc.http_status and attempt >= _MOST_ANSWERS else jittered
