"""A server that gives answers which were thought out: shows that the model is as strict as the program."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from client.commands import TREE
from client.model import profile
from client.model.profile import Profile
from client.model.session import Outcome, Session

_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


@dataclass
class Canned:
    """Answers come in the order in which they were added; the last one stays."""

    url: str = ""
    requests: list[bytes] = field(default_factory=list)
    _answers: list[bytes] = field(default_factory=list)

    def add(self, body: object = None, *, status: str = "200 OK", version: str | None = "2.3", **headers: str) -> None:
        """An answer with this JSON, or with no body at all."""
        content = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = {name.replace("_", "-"): value for name, value in headers.items()}
        if version is not None:
            lines["DRYCC_API_VERSION"] = version
        if "Transfer-Encoding" not in lines:
            lines["Content-Length"] = str(len(content))
        self.add_raw(status, lines, content)

    def only(self, body: object = None, *, status: str = "200 OK") -> None:
        """From now on this answer and no other."""
        self._answers.clear()
        self.add(body, status=status)

    def add_raw(self, status: str, headers: dict[str, str], content: bytes) -> None:
        """An answer as it goes over the wire."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self._answers.append(f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + content)

    def add_socket(self, *frames: bytes, **headers: str) -> None:
        """A WebSocket that sends these frames; `headers` replace those of a proper handshake."""
        lines = {"Upgrade": "websocket", "Connection": "Upgrade", "Sec-WebSocket-Accept": "{accept}"}
        lines.update({name.replace("_", "-"): value for name, value in headers.items()})
        self.add_raw("101 Switching Protocols", lines, b"".join(frames))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.startswith(b"Content-Len")), 0)
        self.requests.append(head + await reader.readexactly(length))
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        writer.write(answer.replace(b"{accept}", _accept(head)))
        if b"101 Switching" in answer:
            await reader.read(1024)  # the request frame
        writer.close()


def _accept(head: bytes) -> bytes:
    keys = [line.split(b": ")[1] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key")]
    return base64.b64encode(hashlib.sha1(keys[0] + _GUID.encode()).digest()) if keys else b""


@dataclass
class Bench:
    """A client that is logged in at a canned server."""

    server: Canned
    session: Session

    async def run(self, *words: str) -> Outcome:
        """Run a command for the app `shop`."""
        return await self.session.run(*words, "-a", "shop")


@asynccontextmanager
async def bench(home: Path) -> AsyncIterator[Bench]:
    """A client and a canned server."""
    canned = Canned()
    server = await asyncio.start_server(canned.serve, "127.0.0.1", 0)
    canned.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    (home / ".drycc").mkdir()
    session = Session(TREE, home, home, pause_seconds=0.0)
    profile.save(home / ".drycc" / "client.json", Profile("ana", True, canned.url, "t0ken", 0))
    async with server:
        yield Bench(canned, session)
