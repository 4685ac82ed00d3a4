"""Files of log lines: `<UTC timestamp> <text>`, turned over by size. Timestamps sort as text."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

STAMP_LENGTH = len("2026-01-05T10:15:00.000000Z")
_BLOCK = 64 * 1024


def stamp(moment: datetime | None = None) -> str:
    """A moment (default: now) as the logs write it; always of the same length."""
    return (moment or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


class LogFile:
    """Appends to one file; when it is full it becomes `<name>.1`, what was there `<name>.2`, and so on.

    A full disk or a vanished directory loses lines, never the caller: what cannot be written is counted in `lost`.
    """

    def __init__(self, path: Path, *, max_bytes: int, backups: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._descriptor: int | None = None
        self._size = 0
        self.lost = 0

    def append(self, data: bytes) -> None:
        """Write complete lines. One call is one write, so readers never see half a batch's first line."""
        try:
            if self._descriptor is not None and self._size + len(data) > self._max_bytes and self._size:
                self._turn_over()
            if self._descriptor is None:
                self._open()
            self._write(data)
        except OSError:
            self.lost += data.count(b"\n")

    def close(self) -> None:
        """Nothing is written after this unless `append` opens it again."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._descriptor = os.open(self._path, flags, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _write(self, data: bytes) -> None:
        if self._descriptor is not None:
            self._size += os.write(self._descriptor, data)

    def _turn_over(self) -> None:
        self.close()
        for number in range(self._backups, 0, -1):
            older = backup(self._path, number - 1) if number > 1 else self._path
            if older.exists():
                older.replace(backup(self._path, number))
        if not self._backups:
            self._path.unlink(missing_ok=True)


def backup(path: Path, number: int) -> Path:
    """The `number`th older file of a log."""
    return path.with_name(f"{path.name}.{number}")


def generations(path: Path) -> list[Path]:
    """The files of one log that exist, newest first."""
    found = [path] if path.exists() else []
    number = 1
    while (older := backup(path, number)).exists():
        found.append(older)
        number += 1
    return found


def tail(path: Path, lines: int) -> list[bytes]:
    """The last lines of a log across its files, oldest first, without line ends; `lines` <= 0 means all."""
    kept: deque[bytes] = deque()
    for file in generations(path):
        for line in _backwards(file):
            kept.appendleft(line)
            if len(kept) == lines:
                return list(kept)
    return list(kept)


def _backwards(path: Path) -> Iterator[bytes]:
    """Complete lines of a file, last first, read block by block from its end."""
    try:
        file = path.open("rb")
    except OSError:
        return
    with file:
        position = file.seek(0, os.SEEK_END)
        rest, whole = b"", False
        while position > 0:
            size = min(_BLOCK, position)
            position -= size
            file.seek(position)
            text = file.read(size) + rest
            if not whole:
                # What follows the last line end is a line in the making; it does not count yet.
                end = text.rfind(b"\n")
                if end < 0:
                    rest = text
                    continue
                text, whole = text[:end], True
            rest, *lines = text.split(b"\n")
            yield from reversed(lines)
        if whole and rest:
            yield rest
