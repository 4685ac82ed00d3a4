"""A WebSocket client that is as particular as the released command-line client (golang.org/x/net/websocket)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import struct
from dataclasses import dataclass

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
DEADLINE_SECONDS = 10.0


class RefusedError(Exception):
    """The handshake was answered in a way that the client does not take."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(f"{status}: {reason}")
        self.status = status


@dataclass
class GoWebSocket:
    """One connection. Every frame counts as a message; fragments, extensions and masked frames are errors."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    headers: dict[str, str]

    @classmethod
    async def dial(cls, host: str, port: int, path: str, *, token: str | None) -> GoWebSocket:
        """Connect as the client does.

        Raises:
            RefusedError: the client would say "bad status" or the like.
        """
        reader, writer = await asyncio.open_connection(host, port)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            f"Origin: http://{host}:{port}",
            "Sec-WebSocket-Version: 13",
            "User-Agent: Drycc Client v1.10.2",
            *([f"Authorization: token {token}"] if token is not None else []),
            "X-Drycc-Builder-Auth: ",
        ]
        writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
        try:
            headers = await _answer(reader, key)
        except BaseException:
            writer.close()
            raise
        return cls(reader, writer, headers)

    async def send(self, payload: bytes) -> None:
        """One masked text frame, whatever the bytes are."""
        mask = os.urandom(4)
        size = len(payload)
        head = bytes([0x80 | TEXT]) + (
            bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack("!H", size)
        )
        self.writer.write(head + mask + bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)))
        await self.writer.drain()

    async def send_json(self, value: object) -> None:
        """The first frame of a conversation."""
        await self.send(json.dumps(value).encode())

    async def receive(self) -> bytes | None:
        """The next message; None at the end of the conversation."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            try:
                first, second = await self.reader.readexactly(2)
            except asyncio.IncompleteReadError:
                return None
            assert first & 0x80, "the message is fragmented"
            assert not first & 0x70, "an extension is in use"
            assert not second & 0x80, "a server must not mask"
            size = second & 0x7F
            if size == 126:
                (size,) = struct.unpack("!H", await self.reader.readexactly(2))
            elif size == 127:
                (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
            payload = await self.reader.readexactly(size)
        if first & 0x0F == CLOSE:
            self.close_code = struct.unpack("!H", payload[:2])[0] if payload else None
            return None
        assert first & 0x0F in (TEXT, BINARY), "the client would print an error"
        assert payload, "an empty message panics the client"
        return payload

    async def everything(self) -> list[bytes]:
        """All messages up to the end."""
        messages = []
        while (message := await self.receive()) is not None:
            messages.append(message)
        return messages

    async def close(self) -> None:
        """Go away without a word."""
        self.writer.close()
        await self.writer.wait_closed()

    close_code: int | None = None


async def _answer(reader: asyncio.StreamReader, key: str) -> dict[str, str]:
    async with asyncio.timeout(DEADLINE_SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    status_line, *lines = head.strip().split("\r\n")
    status = int(status_line.split()[1])
    if status != 101:
        raise RefusedError(status, "bad status")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("upgrade", "").lower() != "websocket" or headers.get("connection", "").lower() != "upgrade":
        raise RefusedError(status, "missing or bad upgrade")
    expected = base64.b64encode(hashlib.sha1((key + _GUID).encode()).digest()).decode()
    if headers.get("sec-websocket-accept") != expected:
        raise RefusedError(status, "mismatch challenge/response")
    if "sec-websocket-extensions" in headers or "sec-websocket-protocol" in headers:
        raise RefusedError(status, "unsupported extensions")
    return headers
