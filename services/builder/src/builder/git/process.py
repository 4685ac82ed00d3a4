"""One git process: bytes in from an InputPipe, bytes out to a Sink, and its whole group ended on demand."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from typing import Protocol, cast

from builder.git.pipe import InputPipe

STDOUT = 1
STDERR = 2
GRACE_SECONDS = 3.0


class Sink(Protocol):
    """Takes what the process prints; never raises, also when the other side is gone."""

    def take(self, data: bytes, *, is_error: bool) -> None:
        """Bytes of standard output, or of standard error."""


class GitProcess(asyncio.SubprocessProtocol):
    """Starts with `spawn`; `ended` is done once the process is gone and all its output was delivered."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._transport: asyncio.SubprocessTransport | None = None
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    @classmethod
    async def spawn(
        cls, command: Sequence[str], *, environment: Mapping[str, str], stdin: InputPipe, sink: Sink
    ) -> GitProcess:
        """Start `command` in a session of its own.

        Raises:
            OSError: it cannot be started.
        """
        loop = asyncio.get_running_loop()
        try:
            _, process = await loop.subprocess_exec(
                lambda: cls(sink),
                *command,
                stdin=stdin.reader,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                env=dict(environment),
                cwd="/",
                start_new_session=True,
            )
        finally:
            stdin.release_reader()
        return process

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.SubprocessTransport, transport)

    def pipe_data_received(self, fd: int, data: bytes | str) -> None:
        self._sink.take(cast(bytes, data), is_error=fd == STDERR)

    def connection_lost(self, _exc: Exception | None) -> None:
        returncode = self._transport.get_returncode() if self._transport else None
        if self._transport is not None:
            self._transport.close()
        if not self.ended.done():
            self.ended.set_result(1 if returncode is None else returncode)

    def pause(self) -> None:
        """Read no more of its output until `resume`: the one who takes it is slow."""
        self._each_output("pause_reading")

    def resume(self) -> None:
        self._each_output("resume_reading")

    def _each_output(self, action: str) -> None:
        for fd in (STDOUT, STDERR):
            pipe = self._transport.get_pipe_transport(fd) if self._transport else None
            if pipe is not None and not pipe.is_closing():
                getattr(pipe, action)()

    async def end(self) -> None:
        """End the process group: politely, so that receive-pack removes its quarantine, then at once."""
        for how in (signal.SIGTERM, signal.SIGKILL):
            self._signal(how)
            self.resume()  # a paused pipe never reports its end
            await asyncio.wait({self.ended}, timeout=GRACE_SECONDS)
            if self.ended.done():
                return

    def _signal(self, how: signal.Signals) -> None:
        transport = self._transport
        if transport is None or transport.get_returncode() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(transport.get_pid(), how)
