"""An HTTP server on the loopback that answers as a test says: for what a real API server cannot be made to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from aiohttp import web


@dataclass
class Answer:
    """What comes back for one request. `lines` are sent one by one, then the connection is cut or held open."""

    status: int = 200
    body: bytes | Mapping[str, Any] = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    lines: tuple[Mapping[str, Any] | bytes, ...] | None = None
    holds: bool = False
    seconds: float = 0.0


class Script(Protocol):
    """Decides what to answer; `count` is how many requests of this method and path came before."""

    def __call__(self, request: web.Request, count: int) -> Answer: ...


@dataclass
class Seen:
    """One request that came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


class FaultyApiServer:
    """Answers discovery with nothing unless the script does; `seen` has the other requests."""

    def __init__(self, script: Script) -> None:
        self.script = script
        self.seen: list[Seen] = []
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def count(self, method: str, path: str) -> int:
        """How many such requests came."""
        return sum(1 for one in self.seen if (one.method, one.path) == (method, path))

    def kubeconfig(self, directory: Path, **user: Any) -> Path:
        """A kubeconfig for it, with these facts about the user."""
        return write_kubeconfig(directory / "kubeconfig", self.url, **user)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultyApiServer]:
        """Serve on a free port."""
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield self
        finally:
            await runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        before = self.count(request.method, request.path)
        body = await request.read()
        answer = self.script(request, before)
        self.seen.append(Seen(request.method, request.path, dict(request.query), dict(request.headers), body))
        await asyncio.sleep(answer.seconds)
        if answer.lines is not None:
            return await _stream(request, answer)
        content = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        return web.Response(status=answer.status, body=content, headers=dict(answer.headers))


async def _stream(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, headers=dict(answer.headers))
    await response.prepare(request)
    for line in answer.lines or ():
        await response.write(line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n")
    if answer.holds:
        await asyncio.sleep(3600)
    if request.transport is not None:
        request.transport.abort()
    return response


def write_kubeconfig(path: Path, server: str, *, cluster: Mapping[str, object] | None = None, **user: str) -> Path:
    """A kubeconfig file with one context."""
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "test", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    path.write_text(json.dumps(content))
    path.chmod(0o600)
    return path


def status(code: int, message: str, reason: str = "", **details: object) -> Answer:
    """A Status object as the API server sends it."""
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": reason}
    return Answer(code, {**body, "code": code, "details": details})


def listing(*items: Mapping[str, Any], version: str = "10", more: str = "") -> Answer:
    """A page of a list."""
    return Answer(200, {"metadata": {"resourceVersion": version, "continue": more}, "items": list(items)})
