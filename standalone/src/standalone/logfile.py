"""The platform's own log: one file that is rotated by size while it is written."""

from __future__ import annotations

from io import TextIOBase
from pathlib import Path
from types import TracebackType

MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 3


class RotatingStream(TextIOBase):
    """A text stream onto `path`; at `max_bytes` the file becomes `path.1`, that one `path.2`, up to `backups`."""

    def __init__(self, path: Path, *, max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._backups = backups
        self._open()

    def _open(self) -> None:
        self._file = self._path.open("a", encoding="utf-8", buffering=1)
        self._size = self._path.stat().st_size

    def write(self, text: str) -> int:
        """Append; one call is never split over two files."""
        if self._size and self._size + len(text) > self._max_bytes:
            self._rotate()
        self._size += len(text)
        return self._file.write(text)

    def flush(self) -> None:
        """Hand everything to the operating system."""
        if not self._file.closed:
            self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def _rotate(self) -> None:
        self._file.close()
        for number in range(self._backups - 1, 0, -1):
            older = self._path.with_name(f"{self._path.name}.{number}")
            if older.exists():
                older.replace(self._path.with_name(f"{self._path.name}.{number + 1}"))
        self._path.replace(self._path.with_name(f"{self._path.name}.1"))
        self._open()

    def __enter__(self) -> RotatingStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
