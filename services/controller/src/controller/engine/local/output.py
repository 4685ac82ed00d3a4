"""The pipe of an instance's output: read in bounded steps, cut into lines, held back when it floods."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable

MAX_LINE = 16 * 1024
"""Longer lines are cut into several of this many bytes."""

_CHUNK = 16 * 1024
_LINE_COST = 100
_UNPACED = 1024
_PARTIAL_SECONDS = 1.0


class LineSplitter:
    """Cuts a stream of bytes into lines; line ends are dropped, as are carriage returns before them."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def has_partial(self) -> bool:
        """Whether a line has begun that did not end yet."""
        return bool(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """The lines that `data` completes."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        cut = [part for line in lines for part in _parts(line.removesuffix(b"\r"))]
        while len(self._rest) > MAX_LINE:
            cut.append(self._rest[:MAX_LINE])
            self._rest = self._rest[MAX_LINE:]
        return cut

    def flush(self) -> list[bytes]:
        """What there is of a line in the making."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []


class OutputPump:
    """Moves lines from a pipe to a sink until its end.

    More than `bytes_per_second` is not read: the pipe fills and the writer waits, so that a flood costs us a bounded
    share of the processor. A line without an end is passed on after a second, so that prompts are seen.
    """

    def __init__(self, *, sink: Callable[[list[bytes]], Awaitable[None]], bytes_per_second: int) -> None:
        self._sink = sink
        self._rate = bytes_per_second
        self._splitter = LineSplitter()
        self._descriptor, self._write_end = os.pipe()
        os.set_blocking(self._descriptor, False)

    @property
    def write_end(self) -> int:
        """The descriptor to give to the child; close ours with `child_started`."""
        return self._write_end

    def child_started(self) -> None:
        """The child has its copy of the write end, or there is no child: drop ours."""
        if self._write_end >= 0:
            os.close(self._write_end)
            self._write_end = -1

    async def run(self) -> None:
        """Pump until every writer has closed the pipe, or until cancelled; what was read is delivered either way."""
        try:
            while (chunk := await self._next_chunk()) is not None:
                lines = self._splitter.feed(chunk) if chunk else self._splitter.flush()
                if lines:
                    await self._sink(lines)
                await self._pace(len(chunk) + _LINE_COST * len(lines))
        finally:
            self.child_started()
            os.close(self._descriptor)
            if lines := self._splitter.flush():
                await asyncio.shield(self._sink(lines))

    async def _pace(self, cost: int) -> None:
        """Take as long as `cost` bytes may take at the rate allowed; short lines cost more than their bytes."""
        await asyncio.sleep(cost / self._rate if cost >= _UNPACED else 0)

    async def _next_chunk(self) -> bytes | None:
        """Some bytes; none of them when only a partial line waits; None at the end."""
        while True:
            try:
                return os.read(self._descriptor, _CHUNK) or None
            except BlockingIOError:
                if not await self._readable(_PARTIAL_SECONDS if self._splitter.has_partial else None):
                    return b""

    async def _readable(self, timeout: float | None) -> bool:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        loop.add_reader(self._descriptor, ready.set)
        try:
            async with asyncio.timeout(timeout):
                await ready.wait()
        except TimeoutError:
            return False
        finally:
            loop.remove_reader(self._descriptor)
        return True


def _parts(line: bytes) -> list[bytes]:
    if len(line) <= MAX_LINE:
        return [line]
    return [line[start : start + MAX_LINE] for start in range(0, len(line), MAX_LINE)]
