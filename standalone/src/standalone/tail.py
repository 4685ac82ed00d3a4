"""The end of a log file, and what is added to it, across rotation."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

_PAUSE_SECONDS = 0.25


def tail(path: Path, *, lines: int, follow: bool) -> Iterator[str]:
    """The last `lines` lines of `path`; with `follow`, all that come later until the caller stops."""
    file = path.open(encoding="utf-8", errors="replace")
    try:
        yield from deque(file, maxlen=lines)
        while follow:
            time.sleep(_PAUSE_SECONDS)
            yield from file
            if _replaced(file, path):
                yield from file  # what came between our last look and the rotation
                file.close()
                file = path.open(encoding="utf-8", errors="replace")
    finally:
        file.close()


def _replaced(file: TextIO, path: Path) -> bool:
    return path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino
