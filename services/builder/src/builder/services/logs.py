"""Build logs: one file per build, written once, followed by any number of readers at their own pace."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID

from builder.domain.text import printable
from shared.logging import get_logger

log = get_logger(__name__)

CHUNK_BYTES = 64 * 1024


class BuildLog:
    """The log of a running build. Writes go to the page cache directly: a thread would cost more than they take."""

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._path = path
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._note = path.with_suffix(".position")
        self._max_bytes = max_bytes
        self._size = os.fstat(self._file).st_size
        self._is_closed = self._is_cut = False
        self._changed = asyncio.Event()

    @property
    def position(self) -> str:
        """What was noted last; see `runner.port.Log`."""
        try:
            return self._note.read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    async def write(self, text: str, *, position: str | None = None) -> None:
        """Append; what goes beyond the limit is dropped, and the log says so once."""
        data = printable(text).encode("utf-8", "replace")
        if self._size + len(data) > self._max_bytes:
            data = b"" if self._is_cut else b"\n!     The log is cut off here: it is too long.\n"
            self._is_cut = True
        self._append(data)
        if position is not None:
            self._remember(position)
        # A build that prints in a tight loop must not keep its readers from reading.
        await asyncio.sleep(0)

    def conclude(self, text: str) -> None:
        """Append words of our own, which are few and never cut off."""
        self._append(printable(text).encode("utf-8", "replace"))

    def close(self) -> None:
        """The log is complete; readers end when they have read it."""
        if not self._is_closed:
            self._is_closed = True
            os.close(self._file)
            self._wake()

    async def follow(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Everything from `offset` on, until the log is closed."""
        with self._path.open("rb", buffering=0) as file:
            file.seek(offset)
            while True:
                changed, was_closed = self._changed, self._is_closed
                if data := file.read(CHUNK_BYTES):
                    yield data
                elif was_closed:
                    return
                else:
                    await changed.wait()

    def _append(self, data: bytes) -> None:
        if self._is_closed or not data:
            return
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as exc:  # a full disk must not end the build in a worse way than the build itself would
            log.warning("build_log_not_written", error=exc.strerror)
        self._size += len(data) - len(view)
        self._wake()

    def _remember(self, position: str) -> None:
        """Put the note in place as a whole: a crash leaves this one or the one before it."""
        fresh = self._note.with_suffix(".fresh")
        try:
            fresh.write_text(position, encoding="utf-8")
            fresh.replace(self._note)
        except OSError as exc:
            log.warning("build_position_not_written", error=exc.strerror)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class BuildLogs:
    """All logs below one directory, `<app>/<build id>.log`."""

    def __init__(self, root: Path, *, max_bytes: int) -> None:
        self._root = root
        self._max_bytes = max_bytes
        self._open: dict[UUID, BuildLog] = {}

    def create(self, app: str, build_id: UUID) -> BuildLog:
        """Begin the log of a build, or go on with it; `finish` ends it."""
        fresh = BuildLog(self._path(app, build_id), max_bytes=self._max_bytes)
        self._open[build_id] = fresh
        return fresh

    def finish(self, build_id: UUID) -> None:
        running = self._open.pop(build_id, None)
        if running is not None:
            running.close()

    async def append_line(self, app: str, build_id: UUID, text: str) -> None:
        """Add a last word to the log of a build that nobody runs any more."""
        await asyncio.to_thread(_append_to, self._path(app, build_id), text)

    async def read(self, app: str, build_id: UUID, *, offset: int, follow: bool) -> AsyncIterator[bytes]:
        """The log from byte `offset` on; with `follow` until it is complete. Nothing when there is no log."""
        running = self._open.get(build_id)
        if running is not None and follow:
            async for data in running.follow(offset):
                yield data
            return
        path = self._path(app, build_id)
        while data := await asyncio.to_thread(_read_at, path, offset):
            offset += len(data)
            yield data

    async def remove(self, app: str) -> None:
        """Remove all logs of the app."""
        await asyncio.to_thread(shutil.rmtree, self._root / app, ignore_errors=True)

    def _path(self, app: str, build_id: UUID) -> Path:
        return self._root / app / f"{build_id}.log"


def _append_to(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _read_at(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""
