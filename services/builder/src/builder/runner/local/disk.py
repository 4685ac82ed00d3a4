"""Disk space of builds: how much is used, the limit of one build."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

from builder.runner.local.process import disk_full
from builder.runner.port import BuildFailedError

MIB = 1024 * 1024
# The walk may take at most this share of the time, so that huge trees are not walked all the time.
_WALK_SHARE = 0.1


def usage(path: Path) -> int:
    """Bytes that a tree occupies on disk: blocks, not lengths; hard links once; 0 when it is not there."""
    total = 0
    seen: set[tuple[int, int]] = set()
    waiting = [str(path)]
    while waiting:
        # What is being written to changes while it is walked: entries that vanish do not count. Neither does what lies
        # deeper than a path may be long.
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    facts = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        total += facts.st_blocks * 512
                        waiting.append(entry.path)
                    elif facts.st_nlink == 1 or (facts.st_dev, facts.st_ino) not in seen:
                        seen.add((facts.st_dev, facts.st_ino))
                        total += facts.st_blocks * 512
    return total


class DiskLimit:
    """Watches what one build writes: trees are counted by what they have grown since they were added."""

    def __init__(self, limit_bytes: int, *, interval_seconds: float) -> None:
        self._limit = limit_bytes
        self._interval = interval_seconds
        self._before: dict[Path, int] = {}

    async def add(self, path: Path) -> None:
        """Count what is written below `path` from now on (from the first call on, if there are several)."""
        if path not in self._before:
            self._before[path] = await asyncio.to_thread(usage, path)

    async def check(self) -> None:
        """Measure once.

        Raises:
            BuildFailedError: disk-limit, when the build has written more than it may.
        """
        before = dict(self._before)
        used = await asyncio.to_thread(lambda: sum(usage(path) - start for path, start in before.items()))
        if used > self._limit:
            raise BuildFailedError(
                "disk-limit",
                f"the build wrote {used / MIB:.0f} MiB; it may write {self._limit / MIB:.0f} MiB",
                hint="remove large files and dependencies that are not needed, or have the limit raised",
            )

    async def watch(self) -> None:
        """Measure again and again until cancelled.

        Raises:
            BuildFailedError: disk-limit.
        """
        while True:
            started = time.monotonic()
            await self.check()
            await asyncio.sleep(max(self._interval, (time.monotonic() - started) / _WALK_SHARE))


@contextlib.contextmanager
def explained(doing: str) -> Iterator[None]:
    """Turn a full disk into the failure that says so; other errors of the operating system pass.

    Raises:
        BuildFailedError: disk-full.
    """
    try:
        yield
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise disk_full(f"the disk is full: {doing}") from exc
        raise
