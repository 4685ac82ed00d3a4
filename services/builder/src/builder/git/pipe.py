"""Bytes of an SSH channel on their way into a process, with bounded memory however slow the process is."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
from collections import deque
from collections.abc import Callable

# Larger pipes save wake-ups; an unprivileged process may ask for up to 1 MiB (pipe(7)).
PIPE_BYTES = 1024 * 1024
HIGH_WATER_BYTES = 256 * 1024
_PIECES_PER_WRITE = 64


class InputPipe:
    """The write end of a process's standard input, written to straight from `data_received`.

    Rather than an asyncio pipe transport, which on some versions closes a pipe that still has data to write
    (python/cpython#156512), and faster than a stream. Memory is bounded without help from the SSH library: it grants
    the client a full window as soon as one packet of a paused channel's queue is delivered, so reading is resumed only
    when nothing is left here, and the queue is then taken whole. At most two windows and the high-water mark are held.
    """

    def __init__(self, *, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._pause, self._resume = pause, resume
        self._buffer: deque[memoryview] = deque()
        self._buffered = 0
        self._paused = self._taking_queue = self._finished = self._is_watching = False
        self._reader: int | None
        self._writer: int | None
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        with contextlib.suppress(OSError):
            fcntl.fcntl(self._writer, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
        self.last_fed = self._loop.time()

    @property
    def reader(self) -> int:
        """The file descriptor for the process."""
        if self._reader is None:
            raise RuntimeError("the read end was given away already")
        return self._reader

    @property
    def buffered_bytes(self) -> int:
        return self._buffered

    def release_reader(self) -> None:
        """Close our copy of the read end, so that writing fails when the process is gone."""
        if self._reader is not None:
            os.close(self._reader)
            self._reader = None

    def feed(self, data: bytes) -> None:
        """Write what the pipe takes now and keep the rest."""
        self.last_fed = self._loop.time()
        if self._writer is None or self._finished:
            return
        self._buffer.append(memoryview(data))
        self._buffered += len(data)
        if not self._is_watching:
            self._flush()
        if self._buffered > HIGH_WATER_BYTES and not self._paused and not self._taking_queue:
            self._paused = True
            self._pause()

    def finish(self) -> None:
        """End of input, after all that was fed."""
        self._finished = True
        if not self._buffer:
            self._close_writer()

    def close(self) -> None:
        """Drop what is left and close both ends."""
        self._buffer.clear()
        self._buffered = 0
        self._close_writer()
        self.release_reader()

    def _flush(self) -> None:
        try:
            while self._buffer and self._writer is not None:
                pieces = [self._buffer[n] for n in range(min(_PIECES_PER_WRITE, len(self._buffer)))]
                self._consume(os.writev(self._writer, pieces))
        except BlockingIOError:
            self._watch()
            return
        except OSError:  # the process has gone: what it did not read nobody needs
            self._buffer.clear()
            self._buffered = 0
            self._close_writer()
        self._unwatch()
        if self._finished:
            self._close_writer()

    def _consume(self, count: int) -> None:
        self._buffered -= count
        while count:
            first = self._buffer[0]
            if count < len(first):
                self._buffer[0] = first[count:]
                return
            count -= len(first)
            self._buffer.popleft()

    def _on_writable(self) -> None:
        try:
            self._go_on()
        except BaseException:
            # A descriptor that stays watched would call us again at once, for ever.
            self.close()
            raise

    def _go_on(self) -> None:
        self._flush()
        if self._paused and not self._buffer:
            self._paused, self._taking_queue = False, True
            try:
                self._resume()
            finally:
                self._taking_queue = False
            if self._buffered > HIGH_WATER_BYTES:
                self._paused = True
                self._pause()

    def _watch(self) -> None:
        if not self._is_watching and self._writer is not None:
            self._loop.add_writer(self._writer, self._on_writable)
            self._is_watching = True

    def _unwatch(self) -> None:
        if self._is_watching and self._writer is not None:
            self._loop.remove_writer(self._writer)
        self._is_watching = False

    def _close_writer(self) -> None:
        self._unwatch()
        if self._writer is not None:
            os.close(self._writer)
            self._writer = None
