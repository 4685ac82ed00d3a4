"""WebSockets as golang.org/x/net/websocket speaks them: frame by frame, no extensions (cli.md 9)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import struct
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from client.model.api import USER_AGENT
from client.model.failures import ClientError
from client.model.http import url_of

_GUID: Final = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
_TEXT, _CLOSE, _PING, _PONG = 1, 8, 9, 10
_MOST_BYTES: Final = 32 * 1024 * 1024
_HANDSHAKE_SECONDS: Final = 30.0


class StreamError(Exception):
    """What the program logs on stderr when a stream breaks; its exit status stays 0."""


@dataclass
class Socket:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, payload: bytes) -> None:
        """One masked text frame, whether the bytes are text or not."""
        await self._send(_TEXT, payload)

    async def send_json(self, value: Mapping[str, object]) -> None:
        """The first frame of a conversation."""
        await self.send(json.dumps(value, separators=(",", ":")).encode())

    async def frames(self) -> AsyncIterator[bytes]:
        """The payload of each frame up to the end, however that comes. Parts of a message count as messages.

        Raises:
            StreamError: a frame that the program cannot take.
        """
        try:
            while True:
                opcode, payload = await self._receive()
                if opcode == _CLOSE:
                    return
                if opcode == _PING:
                    await self._send(_PONG, payload)
                elif opcode == _PONG:
                    raise StreamError("not implemented")
                else:
                    yield payload
        except (asyncio.IncompleteReadError, ConnectionError):
            return

    async def close(self) -> None:
        """Go away."""
        self.writer.close()

    async def _send(self, opcode: int, payload: bytes) -> None:
        mask, size = os.urandom(4), len(payload)
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack("!H", size)
        masked = bytes(byte ^ mask[number % 4] for number, byte in enumerate(payload))
        self.writer.write(bytes([0x80 | opcode]) + length + mask + masked)
        await self.writer.drain()

    async def _receive(self) -> tuple[int, bytes]:
        first, second = await self.reader.readexactly(2)
        if first & 0x70:
            raise StreamError("an extension is in use")
        if second & 0x80:
            raise StreamError("a server must not mask")
        size = second & 0x7F
        if size == 126:
            (size,) = struct.unpack("!H", await self.reader.readexactly(2))
        elif size == 127:
            (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
        if size > _MOST_BYTES:
            raise StreamError("websocket: frame payload size exceeds limit")
        return first & 0x0F, await self.reader.readexactly(size)


async def dial(controller: str, path: str, token: str) -> Socket:
    """Connect.

    Raises:
        ClientError: the handshake was not answered as the program wants it.
    """
    http = urlsplit(url_of(controller, path))
    url = f"ws{http.geturl().removeprefix('http')}"
    try:
        reader, writer = await asyncio.open_connection(http.hostname, http.port or 80)
    except OSError as error:
        raise ClientError(f"websocket.Dial {url}: dial tcp {http.netloc}: {error.strerror}") from None
    key = base64.b64encode(os.urandom(16)).decode()
    lines = [
        f"GET {http.path} HTTP/1.1",
        f"Host: {http.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        f"Origin: {controller.lower()}",
        "Sec-WebSocket-Version: 13",
        f"User-Agent: {USER_AGENT}",
        f"Authorization: token {token}",
        "X-Drycc-Builder-Auth: ",
    ]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    problem = await _problem(reader, key)
    if problem:
        writer.close()
        raise ClientError(f"websocket.Dial {url}: {problem}")
    return Socket(reader, writer)


async def _problem(reader: asyncio.StreamReader, key: str) -> str:
    """What the program does not like about the answer; nothing when all is well."""
    try:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError:
        return "EOF"
    status, *lines = head.rstrip("\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if status.split()[1] != "101":
        return "bad status"
    if headers.get("upgrade", "").lower() != "websocket" or headers.get("connection", "").lower() != "upgrade":
        return "missing or bad upgrade"
    expected = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
    if headers.get("sec-websocket-accept") != expected:
        return "mismatch challenge/response"
    if "sec-websocket-extensions" in headers:
        return "unsupported extensions"
    return "bad WebSocket protocol" if "sec-websocket-protocol" in headers else ""
