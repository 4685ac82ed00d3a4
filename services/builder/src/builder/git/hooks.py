"""The builder's end of the pre-receive hook: one unix socket for all pushes, each known by a random token."""

from __future__ import annotations

import asyncio
import contextlib
import py_compile
import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from builder.domain.refs import RefUpdate
from builder.domain.text import refusal
from builder.git import hook_client
from builder.tasks import OneShots
from shared.logging import get_logger

log = get_logger(__name__)

P = TypeVar("P")

MAX_REQUEST_BYTES = 16 * 1024 * 1024
REQUEST_SECONDS = 30.0
CLOSE_SECONDS = 5.0
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class HookRequest:
    """What git told the hook. `quarantine` is the directory name below objects/ that holds what was just sent."""

    refs: tuple[RefUpdate, ...]
    quarantine: Path | None
    options: dict[str, str] = field(default_factory=dict)


class HookWriter:
    """Text for the pusher. A hook that has died swallows it."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self._at_line_start = True

    async def write(self, data: bytes) -> None:
        """Send output, which must not hold NUL; waits while the pusher is slow."""
        if not data:
            return
        self._at_line_start = data.endswith(b"\n")
        self._writer.write(data)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    async def end(self, status: int) -> None:
        """Tell the hook its exit status, on a line of its own."""
        text = hook_client.STATUS_MARK + str(status).encode() + b"\n"
        self._writer.write(text if self._at_line_start else b"\n" + text)
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()


HookHandler = Callable[[P, HookRequest, HookWriter], Awaitable[int]]


class HookServer(Generic[P]):
    """Serves the hook's socket. `expect` announces a push; its hook may call once and is then handed to the handler.

    When a hook dies before it has its status, the handler is cancelled.
    """

    def __init__(self, *, socket: Path, hooks_dir: Path, handler: HookHandler[P]) -> None:
        self.socket = socket
        self.hooks_dir = hooks_dir
        self._handler = handler
        self._expected: dict[str, P] = {}
        self._tasks = OneShots()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Write the hooks directory and listen.

        Raises:
            OSError: the run directory cannot be written to.
        """
        await asyncio.to_thread(self._install)
        self._server = await asyncio.start_unix_server(self._accept, path=self.socket, limit=MAX_REQUEST_BYTES)
        self.socket.chmod(0o600)

    async def close(self) -> None:
        """Stop listening, let answers under way end for a moment, then end what is left."""
        if self._server is not None:
            self._server.close()
        await self._tasks.drain(seconds=CLOSE_SECONDS)
        await self._tasks.close()
        self.socket.unlink(missing_ok=True)

    @contextmanager
    def expect(self, push: P) -> Iterator[str]:
        """A token that is good for one call of the hook, while the block runs."""
        token = secrets.token_urlsafe(32)
        self._expected[token] = push
        try:
            yield token
        finally:
            self._expected.pop(token, None)

    def _install(self) -> None:
        self.socket.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.socket.unlink(missing_ok=True)
        self.hooks_dir.mkdir(parents=True, exist_ok=True)
        script = self.hooks_dir / "pre-receive"
        # Compiled once: a main program is not taken from the interpreter's cache.
        program = py_compile.compile(hook_client.__file__, str(self.hooks_dir / "hook_client.pyc"), doraise=True)
        command = shlex.join([_interpreter(), "-I", "-S", str(program)])
        fresh = self.hooks_dir / ".pre-receive.new"
        # A shell in between, which exec replaces: the interpreter's path may not fit a `#!` line.
        fresh.write_text(f"#!/bin/sh\nexec {command}\n")
        fresh.chmod(0o500)
        fresh.rename(script)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            self._tasks.spawn(self._serve(reader, writer), name="hook")
        except RuntimeError:  # closing
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hook = HookWriter(writer)
        try:
            await self._answer(reader, hook)
        except asyncio.IncompleteReadError as exc:
            if exc.partial:
                log.warning("hook_request_refused", reason="cut off")
        except asyncio.LimitOverrunError:
            await self._refuse_size(reader, hook)
        except (TimeoutError, ValueError, KeyError) as exc:
            log.warning("hook_request_refused", reason=type(exc).__name__)
            await hook.write(refusal("The builder did not understand its own hook; this is a bug.").encode())
            await hook.end(1)
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, hook: HookWriter) -> None:
        async with asyncio.timeout(REQUEST_SECONDS):
            asked = await reader.readuntil(b"\n\n")
        token, request = _parse(asked)
        push = self._expected.pop(token, None)
        if push is None:
            await hook.write(refusal("The builder does not know this push; nothing was changed.").encode())
            await hook.end(1)
            return
        await self._until_done_or_dead(reader, hook, push, request)

    async def _refuse_size(self, reader: asyncio.StreamReader, hook: HookWriter) -> None:
        """The hook listens when it has said all."""
        end = b""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REQUEST_SECONDS):
                while end != b"\n\n" and (data := await reader.read(_CHUNK_BYTES)):
                    end = (end + data)[-2:]
        most = MAX_REQUEST_BYTES // (1024 * 1024)
        text = f"Names of more than {most} MiB in one push; push the deploy branch alone, and the rest in several goes."
        await hook.write(refusal(text).encode())
        await hook.end(1)

    async def _until_done_or_dead(
        self, reader: asyncio.StreamReader, hook: HookWriter, push: P, request: HookRequest
    ) -> None:
        work = asyncio.ensure_future(self._handler(push, request, hook))
        death = asyncio.ensure_future(reader.read(1))
        try:
            await asyncio.wait({work, death}, return_when=asyncio.FIRST_COMPLETED)
            if work.done():
                await hook.end(work.result())
            else:
                log.warning("hook_died")
        finally:
            for task in (work, death):
                task.cancel()
            await asyncio.wait({work, death})


def _interpreter() -> str:
    """The interpreter below the virtual environment: it starts faster, and `-I -S` needs no packages."""
    return getattr(sys, "_base_executable", None) or sys.executable


def _parse(asked: bytes) -> tuple[str, HookRequest]:
    """Read a hook's request, see `hook_client`; KeyError or ValueError when it is malformed."""
    facts: dict[str, list[str]] = {"token": [], "quarantine": [], "option": [], "ref": []}
    for line in asked.decode("utf-8", "replace").rstrip("\n").split("\n"):
        word, _, about = line.partition(" ")
        facts[word].append(about)
    (token,) = facts["token"]
    options = (option.partition("=") for option in facts["option"])
    return token, HookRequest(
        refs=tuple(RefUpdate(*_three(line)) for line in facts["ref"]),
        quarantine=Path(facts["quarantine"][0]) if facts["quarantine"] else None,
        options={name: value for name, _, value in options if name},
    )


def _three(line: str) -> tuple[str, str, str]:
    """`<old> <new> <ref>`: a ref is any characters but a few, so that only these two blanks separate."""
    old, new, ref = line.split(" ", 2)
    return old, new, ref
