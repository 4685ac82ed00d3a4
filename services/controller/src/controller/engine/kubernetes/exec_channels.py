"""The streams of a command over one WebSocket, in the API server's protocols `v5.channel.k8s.io` and `v4`.

Every message is one byte that names a channel and the payload. The fifth version can close a channel, which is how a
command learns that its input has ended (Kubernetes enhancement 4006; from Kubernetes 1.30 on).
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import suppress
from typing import Final

from aiohttp import ClientError, ClientWebSocketResponse, WSMsgType

from controller.engine.kubernetes.exec_status import LOST_CONNECTION, Outcome, outcome_of

V5: Final = "v5.channel.k8s.io"
PROTOCOLS: Final = (V5, "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
_CHUNK: Final = 32 * 1024
_PIECES: Final = 8
_PING_SECONDS: Final = 30.0
_LAST_SECONDS: Final = 2.0
_CLOSE_SECONDS: Final = 1.0

Piece = tuple[int, bytes]


class Channels:
    """Output is held back when nobody reads it: a few pieces are kept here, the rest waits in the cluster."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self._socket = socket
        self._arrived: asyncio.Queue[Piece | None] = asyncio.Queue(_PIECES)
        self._put_back: deque[Piece] = deque()
        self._outcome: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._is_discarding = False
        self._is_read = False
        self._collector = asyncio.create_task(self._collect(), name="exec-output")
        # No answer is waited for: the other side does not read on while the command does not read its input.
        self._keepalive = asyncio.create_task(self._ping(), name="exec-keepalive")

    @property
    def can_close_input(self) -> bool:
        """The other side understands `close_input`."""
        return self._socket.protocol == V5

    @property
    def outcome(self) -> Outcome | None:
        """How it ended; None while it runs, as far as is known."""
        return self._outcome.result() if self._outcome.done() else None

    async def wait(self) -> Outcome:
        """How it ends. Output has to be read meanwhile, for it comes before the end."""
        return await asyncio.shield(self._outcome)

    async def read(self) -> Piece | None:
        """The next output; None at its end."""
        if self._put_back:
            return self._put_back.popleft()
        if self._is_read:
            return None
        piece = await self._arrived.get()
        self._is_read = piece is None
        return piece

    def put_back(self, *pieces: Piece) -> None:
        """Let these be read (again) before all else."""
        self._put_back.extendleft(reversed(pieces))

    async def write(self, data: bytes) -> None:
        """Bytes for stdin; waits while the command does not read. Ignored when it has ended."""
        for start in range(0, len(data), _CHUNK):
            await self._send(STDIN, data[start : start + _CHUNK])

    async def close_input(self) -> None:
        """The end of stdin."""
        await self._send(CLOSE, bytes((STDIN,)))

    async def resize(self, *, height: int, width: int) -> None:
        """New size of the terminal."""
        await self._send(RESIZE, json.dumps({"Width": width, "Height": height}).encode())

    async def ends_within(self, seconds: float) -> bool:
        """Drop the output from now on, and tell whether the command ends in time."""
        self._is_discarding = True
        while not self._arrived.empty():
            self._arrived.get_nowait()
        await asyncio.wait((self._outcome,), timeout=seconds)
        return self._outcome.done()

    async def close(self) -> None:
        """Close the connection; who reads comes to an end, who waits is told that it was lost."""
        for task in (self._collector, self._keepalive):
            task.cancel()
        await asyncio.gather(self._collector, self._keepalive, return_exceptions=True)
        self._settle(LOST_CONNECTION)
        while self._arrived.full():
            self._arrived.get_nowait()
        self._arrived.put_nowait(None)
        with suppress(TimeoutError, ClientError, OSError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._socket.close()

    async def _send(self, channel: int, payload: bytes) -> None:
        if self._outcome.done():
            return
        with suppress(ClientError, OSError):
            await self._socket.send_bytes(bytes((channel,)) + payload)

    async def _collect(self) -> None:
        try:
            await self._receive()
        finally:
            self._settle(LOST_CONNECTION)
        outcome = self._outcome.result()
        if outcome.kind != "ended":
            await self._put((STDERR, f"{outcome.message}\n".encode()))
        await self._put(None)

    async def _receive(self) -> None:
        """Until the other side closes, or says nothing more after the command has ended."""
        while True:
            try:
                async with asyncio.timeout(_LAST_SECONDS if self._outcome.done() else None):
                    message = await self._socket.receive()
            except (TimeoutError, ClientError, OSError):
                return
            if message.type not in (WSMsgType.BINARY, WSMsgType.TEXT):
                return
            data = message.data if isinstance(message.data, bytes) else message.data.encode()
            channel, payload = data[:1], data[1:]
            if channel == bytes((ERROR,)) and payload:
                self._settle(outcome_of(payload))
            elif channel in (b"\x01", b"\x02") and payload:
                await self._put((channel[0], payload))

    async def _put(self, piece: Piece | None) -> None:
        if piece is None or not self._is_discarding:
            await self._arrived.put(piece)

    async def _ping(self) -> None:
        """Keep what stands between us and the API server from taking a quiet connection for a dead one."""
        while True:
            await asyncio.sleep(_PING_SECONDS)
            try:
                await self._socket.ping()
            except (ClientError, OSError):
                return

    def _settle(self, outcome: Outcome) -> None:
        if not self._outcome.done():
            self._outcome.set_result(outcome)
