"""An API server with nothing but output and commands of pods, to meet faults that a real one cannot be made to have.

Commands are really run, on this machine; output is what a test puts there.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import WSMsgType, web

from support.faulty_api_server import write_kubeconfig

Status = dict[str, object]


@dataclass
class Container:
    """What a container has said: times with fractions of a second, and lines. `breaks_after` are numbers of lines after
    which a connection is cut, one for each connection, `hangs_after` those after which it says nothing more; `refusal`
    is the sentence of a 400 (`refused_with`)."""

    lines: list[tuple[str, str]] = field(default_factory=list)
    previous: list[tuple[str, str]] = field(default_factory=list)
    breaks_after: list[int] = field(default_factory=list)
    hangs_after: list[int] = field(default_factory=list)
    extra: bytes = b""
    refusal: str = ""
    refused_with: int = 400
    missing: bool = False
    is_running: bool = True
    seconds: float = 0.0
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def say(self, *lines: tuple[str, str]) -> None:
        """More output."""
        self.lines += lines
        self.changed.set()

    def end(self) -> None:
        """It says nothing more: those who follow come to an end."""
        self.is_running = False
        self.changed.set()


class KubeletServer:
    """`queries` has the query of each request for output, `commands` each command that was run."""

    def __init__(self) -> None:
        self.containers: dict[str, Container] = {}
        self.queries: list[dict[str, str]] = []
        self.commands: list[list[str]] = []
        self.protocols: tuple[str, ...] = ("v5.channel.k8s.io", "v4.channel.k8s.io")
        self.answer_exec: Callable[[list[str]], Status | int | None] = lambda command: None
        """Decides about a command: a Status to send at once, an HTTP status, or None to run it."""
        self.cuts_exec_after = -1
        """The connection of a command is cut after so many messages of output."""
        self.open_now = 0
        self.most_open = 0
        self.sizes: list[object] = []
        self.port = 0

    @asynccontextmanager
    async def running(self, directory: Path) -> AsyncIterator[Path]:
        """Serve on a free port; gives a kubeconfig."""
        app = web.Application()
        app.router.add_get("/api/v1/namespaces/{app}/pods/{pod}/log", self._log)
        app.router.add_get("/api/v1/namespaces/{app}/pods/{pod}/exec", self._exec)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port)
        await site.start()
        self.port = runner.addresses[0][1]
        try:
            yield write_kubeconfig(directory / "kubeconfig", f"http://127.0.0.1:{self.port}", token="valid")
        finally:
            await runner.cleanup()

    async def _log(self, request: web.Request) -> web.StreamResponse:
        query = dict(request.query)
        self.queries.append({"pod": request.match_info["pod"], **query})
        container = self.containers.get(request.match_info["pod"])
        if container is None or container.missing:
            return _refused(404, "pods not found")
        if container.refusal:
            return _refused(container.refused_with, container.refusal)
        if query.get("previous") and not container.previous:
            return _refused(400, "previous terminated container not found")
        self.open_now += 1
        self.most_open = max(self.most_open, self.open_now)
        try:
            await asyncio.sleep(container.seconds)
            return await self._said(request, container, query)
        finally:
            self.open_now -= 1

    async def _said(self, request: web.Request, container: Container, query: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        left = container.breaks_after.pop(0) if container.breaks_after else -1
        spoken = container.hangs_after.pop(0) if container.hangs_after else -1
        kept = container.previous if query.get("previous") else container.lines
        # The API takes whole seconds.
        sent = len(kept) - int(query["tailLines"]) if "tailLines" in query else 0
        sent = max(sent, 0)
        while True:
            container.changed.clear()
            for stamp, text in kept[sent:]:
                sent += 1
                if stamp[:19] < query.get("sinceTime", "")[:19]:
                    continue
                if left == 0:
                    return _cut(request, response)
                if spoken == 0:
                    await asyncio.sleep(60)
                left, spoken = left - 1, spoken - 1
                await response.write(f"{stamp} {text}\n".encode())
            if left == 0:
                return _cut(request, response)
            if not query.get("follow") or not container.is_running:
                break
            await container.changed.wait()
        await response.write(container.extra)
        await response.write_eof()
        return response

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        command = request.query.getall("command")
        self.commands.append(command)
        verdict = self.answer_exec(command)
        if isinstance(verdict, int):
            return _refused(verdict, "no")
        socket = web.WebSocketResponse(protocols=self.protocols)
        await socket.prepare(request)
        await socket.send_bytes(b"\x01")
        if verdict is None:
            verdict = await self._run(request, socket, command)
        if verdict is not None:
            await socket.send_bytes(b"\x03" + json.dumps(verdict).encode())
        await socket.close()
        return socket

    async def _run(self, request: web.Request, socket: web.WebSocketResponse, command: list[str]) -> Status | None:
        flags = request.query
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=pipe if flags.get("stdin") else asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=pipe,
            start_new_session=True,
        )
        reading = asyncio.create_task(self._input(socket, process))
        try:
            count = 0
            async for channel, data in _output(process):
                if count == self.cuts_exec_after and request.transport is not None:
                    request.transport.abort()
                    return None
                count += 1
                await socket.send_bytes(bytes((channel,)) + data)
            return exit_status(await process.wait())
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            if socket.closed and process.returncode is None:
                # A real runtime would let it run on; nothing may be left here.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()

    async def _input(self, socket: web.WebSocketResponse, process: asyncio.subprocess.Process) -> None:
        async for message in socket:
            if message.type is not WSMsgType.BINARY or process.stdin is None:
                continue
            channel, payload = message.data[0], message.data[1:]
            if channel == 4:
                self.sizes.append(json.loads(payload))
            elif (channel, payload) == (255, b"\x00"):
                process.stdin.close()
            elif channel == 0:
                process.stdin.write(payload)
                with suppress(ConnectionError):
                    await process.stdin.drain()


def exit_status(code: int) -> Status:
    """What the API server says of a command that ended so."""
    code = 128 - code if code < 0 else code
    if code == 0:
        return {"metadata": {}, "status": "Success"}
    return {
        "metadata": {},
        "status": "Failure",
        "reason": "NonZeroExitCode",
        "message": f"command terminated with non-zero exit code: command terminated with exit code {code}",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


async def _output(process: asyncio.subprocess.Process) -> AsyncIterator[tuple[int, bytes]]:
    pieces: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(4)

    async def pump(channel: int, stream: asyncio.StreamReader | None) -> None:
        while stream is not None and (data := await stream.read(32 * 1024)):
            await pieces.put((channel, data))
        await pieces.put((channel, b""))

    pumps = [asyncio.create_task(pump(1, process.stdout)), asyncio.create_task(pump(2, process.stderr))]
    try:
        left = 2
        while left:
            channel, data = await pieces.get()
            if data:
                yield channel, data
            else:
                left -= 1
    finally:
        for task in pumps:
            task.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)


def _refused(code: int, message: str) -> web.Response:
    status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": code}
    return web.json_response(status, status=code)


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response
