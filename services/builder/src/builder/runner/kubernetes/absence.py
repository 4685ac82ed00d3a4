"""Who waits for a build is told when the cluster does not answer, and when it does again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import Final

from builder.runner.kubernetes.watching import Seen
from builder.runner.port import BuildFailedError, Log
from shared.kubernetes.errors import ClusterError

AWAY: Final = "---> The cluster does not answer; waiting for it...\n"
BACK: Final = "---> The cluster answers again.\n"


@asynccontextmanager
async def telling_absence(seen: Seen, log: Log, *, after: timedelta) -> AsyncIterator[None]:
    """During the block, once it has not answered for so long. How a build ended is news from the cluster, too."""
    absence = _Absence(seen, log, after)
    task = asyncio.create_task(absence.tell(), name="tell absence of the cluster")
    has_answered = False
    try:
        yield
        has_answered = True
    except BuildFailedError:
        has_answered = True
        raise
    finally:
        task.cancel()
        await asyncio.wait({task})
        if has_answered:
            await absence.end()


class _Absence:
    def __init__(self, seen: Seen, log: Log, after: timedelta) -> None:
        self._seen = seen
        self._log = log
        self._after = after.total_seconds()
        self._is_told = False

    async def tell(self) -> None:
        """Ends when the cluster refuses to tell more."""
        with suppress(ClusterError):
            while True:
                await self._seen.until(lambda now: not now.is_current or None)
                try:
                    await self._seen.until(lambda now: now.is_current or None, seconds=self._after)
                except TimeoutError:
                    self._is_told = True
                    await self._log.write(AWAY)
                    await self._seen.until(lambda now: now.is_current or None)
                    await self.end()

    async def end(self) -> None:
        """It answers again, if it was told that it does not."""
        if self._is_told:
            self._is_told = False
            await self._log.write(BACK)
