"""Logs and sessions of the memory engine."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence

STDOUT = 1
_KEPT_LINES = 1000


class LineLog:
    """The last thousand lines, for any number of readers at once."""

    def __init__(self) -> None:
        self._lines: deque[tuple[str | None, str]] = deque(maxlen=_KEPT_LINES)
        self._followers: set[asyncio.Queue[tuple[str | None, str | None]]] = set()
        self._ended: set[str] = set()

    def end(self, instance: str) -> None:
        """That one says nothing more: those who follow it alone come to an end."""
        self._ended.add(instance)
        for queue in self._followers:
            queue.put_nowait((instance, None))

    def write(self, line: str, instance: str | None = None) -> None:
        """Add a line, without its end, that `instance` said."""
        self._lines.append((instance, line))
        for queue in self._followers:
            queue.put_nowait((instance, line))

    async def read(self, instance: str | None, *, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """The last `lines` (all when <= 0), then, with `follow`, those that come; of one instance or of all."""
        queue: asyncio.Queue[tuple[str | None, str | None]] = asyncio.Queue()
        self._followers.add(queue)
        try:
            kept = [line for speaker, line in self._lines if instance in (None, speaker)]
            has_ended = instance in self._ended
            for line in kept[-lines:] if lines > 0 else kept:
                yield f"{line}\n".encode()
            while follow and not has_ended:
                speaker, fresh = await queue.get()
                if fresh is None:
                    has_ended = speaker == instance
                elif instance in (None, speaker):
                    yield f"{fresh}\n".encode()
        finally:
            self._followers.discard(queue)


class MemoryExecSession:
    """Says its command and then whatever it is sent, until stdin ends (an empty write) or it is closed.

    With a terminal, lines end as terminals end them.
    """

    def __init__(self, command: Sequence[str], *, tty: bool, stdin: bool) -> None:
        self._output: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._ended = asyncio.Event()
        self.size: tuple[int, int] | None = None
        self._output.put_nowait(" ".join(command).encode() + (b"\r\n" if tty else b"\n"))
        if not stdin:
            self._end()

    async def read(self) -> tuple[int, bytes] | None:
        """See `ExecSession.read`."""
        chunk = await self._output.get()
        if chunk is None:
            self._output.put_nowait(None)
            return None
        return STDOUT, chunk

    async def write(self, data: bytes) -> None:
        """See `ExecSession.write`."""
        if self._ended.is_set():
            return
        if data:
            self._output.put_nowait(data)
        else:
            self._end()

    async def resize(self, *, height: int, width: int) -> None:
        """See `ExecSession.resize`."""
        self.size = (height, width)

    async def wait(self) -> int:
        """See `ExecSession.wait`."""
        await self._ended.wait()
        return 0

    async def close(self) -> None:
        """See `ExecSession.close`."""
        if not self._ended.is_set():
            self._end()

    def _end(self) -> None:
        self._ended.set()
        self._output.put_nowait(None)
