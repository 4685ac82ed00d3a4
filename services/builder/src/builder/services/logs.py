"""Build logs: one file per build, written once, followed by any number of readers at their own pace."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator, Collection
from io import FileIO
from pathlib import Path
from uuid import UUID

from builder.domain.text import printable
from shared.logging import get_logger

log = get_logger(__name__)

CHUNK_BYTES = 64 * 1024
MOST_WAITING_BYTES = 256 * 1024
"""What waits for room on a full disk; more of a build's output than that is dropped."""
_LOG, _NOTE = ".log", ".position"


class BuildLog:
    """The log of a running build. Writes go to the page cache directly: a thread would cost more than they take.

    A disk that is full ends no build and no push: what it does not take waits in memory, where readers find it too, and
    is written when there is room again.
    """

    def __init__(self, path: Path, *, max_bytes: int) -> None:
        self._path = path
        self._file: int | None = None
        self._note = path.with_suffix(_NOTE)
        self._max_bytes = max_bytes
        self._stored = path.stat().st_size if path.exists() else 0
        self._position: str | None = None
        self._recall()
        self._waiting = bytearray()
        self._is_closed = self._is_cut = self._has_gap = False
        self._changed = asyncio.Event()
        self._flush()

    @property
    def position(self) -> str:
        """What was noted last; see `runner.port.Log`."""
        return self._position or ""

    async def write(self, text: str, *, position: str | None = None) -> None:
        """Append; what goes beyond the limit is dropped, and the log says so once."""
        data = printable(text).encode("utf-8", "replace")
        if self._waiting:
            self._flush()
        if self._stored + len(self._waiting) + len(data) > self._max_bytes:
            data = b"" if self._is_cut else b"\n!     The log is cut off here: it is too long.\n"
            self._is_cut = True
        if len(self._waiting) + len(data) > MOST_WAITING_BYTES:
            data = b"" if self._has_gap else b"\n!     Output is missing here: the builder's disk is full.\n"
            self._has_gap = True
        if position is not None and self._position is None:
            self._remember("")
        self._append(data)
        self._remember(position)
        # A build that prints in a tight loop must not keep its readers from reading.
        await asyncio.sleep(0)

    def conclude(self, text: str) -> None:
        """Append words of our own, which are few and never cut off."""
        self._append(printable(text).encode("utf-8", "replace"))
        self._remember(None)

    def forget_position(self) -> None:
        """Nobody will go on with the build."""
        self._position = None
        self._note.unlink(missing_ok=True)

    def close(self) -> None:
        """The log is complete; readers end when they have read it."""
        if self._is_closed:
            return
        self._flush()
        self._is_closed = True
        if self._file is not None:
            os.close(self._file)
        self._wake()

    async def follow(self, offset: int = 0) -> AsyncIterator[bytes]:
        """Everything from `offset` on, until the log is closed."""
        with contextlib.ExitStack() as stack:
            file: FileIO | None = None
            while True:
                changed, was_closed = self._changed, self._is_closed
                if file is None and self._stored > 0:
                    file = stack.enter_context(FileIO(self._path))
                if data := self._read(file, offset):
                    offset += len(data)
                    yield data
                elif was_closed:
                    return
                else:
                    await changed.wait()

    def _read(self, file: FileIO | None, offset: int) -> bytes:
        if file is not None and offset < self._stored:
            return os.pread(file.fileno(), CHUNK_BYTES, offset)
        return bytes(self._waiting[max(0, offset - self._stored) :])

    def _append(self, data: bytes) -> None:
        if self._is_closed or not data:
            return
        self._waiting += data
        self._flush()
        self._wake()

    def _flush(self) -> None:
        """Write what waits, as far as there is room."""
        try:
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            while self._waiting:
                count = os.write(self._file, self._waiting)
                del self._waiting[:count]
                self._stored += count
        except OSError as exc:  # must not end the build in a worse way than the build itself would
            log.warning("build_log_not_written", error=exc.strerror)
        else:
            self._has_gap = False

    def _recall(self) -> None:
        """Read the note. A crash came after what is behind it in the log, which is written again: it is taken back."""
        try:
            size, line, position = self._note.read_text(encoding="utf-8").partition("\n")
        except FileNotFoundError:
            return
        self._position = position if line else size  # without a size: a note of an earlier version
        if line and int(size) < self._stored:
            os.truncate(self._path, int(size))
            self._stored = int(size)

    def _remember(self, position: str | None) -> None:
        """Note how long the log is and the position (None: the one before, if any), unless something waits for room.

        The note is put in place as a whole: a crash leaves this one or the one before it.
        """
        position = self._position if position is None else position
        if position is None or self._waiting:
            return
        fresh = self._note.with_suffix(".fresh")
        try:
            fresh.write_text(f"{self._stored}\n{position}", encoding="utf-8")
            fresh.replace(self._note)
            self._position = position
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
        """The log is complete, and nobody will go on with it."""
        running = self._open.pop(build_id, None)
        if running is not None:
            running.close()

    async def forget_position(self, app: str, build_id: UUID) -> None:
        """Nobody will go on with the build. Again is no error."""
        running = self._open.get(build_id)
        if running is not None:
            running.forget_position()
        else:
            await asyncio.to_thread(self._path(app, build_id).with_suffix(_NOTE).unlink, missing_ok=True)

    async def retain(self, app: str, keep: Collection[UUID], *, newest: int, under_way: Collection[UUID]) -> None:
        """Keep the logs of these builds and the newest ones; remove the others, and the notes of how far somebody had
        come with builds that have ended. Ids of builds are ordered by time."""
        going_on = {*under_way, *self._open}
        await asyncio.to_thread(_retain, self._root / app, {*keep, *going_on}, newest, going_on)

    def apps(self) -> list[str]:
        """The apps that have logs. Blocks on the disk."""
        return [path.name for path in self._root.glob("*") if path.is_dir()]

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
        return self._root / app / f"{build_id}{_LOG}"


def _retain(directory: Path, keep: Collection[UUID], newest: int, going_on: Collection[UUID]) -> None:
    logs = sorted(directory.glob(f"*{_LOG}"), reverse=True)
    kept = {str(build_id) for build_id in keep} | {path.stem for path in logs[:newest]}
    notes = {str(build_id) for build_id in going_on}
    unneeded = [path for path in logs if path.stem not in kept]
    for path in (*unneeded, *(note for note in directory.glob(f"*{_NOTE}") if note.stem not in notes)):
        path.unlink(missing_ok=True)


def _append_to(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def _read_at(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(min(offset, os.fstat(file.fileno()).st_size))
            return file.read(CHUNK_BYTES)
    except FileNotFoundError:
        return b""
