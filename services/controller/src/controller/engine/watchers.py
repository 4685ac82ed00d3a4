"""Who wants to know which apps have changed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator


class Watchers:
    """Each watcher hears of each changed app; changes that it has not heard of yet are one."""

    def __init__(self) -> None:
        self._pending: list[dict[str, None]] = []
        self._wakes: list[asyncio.Event] = []
        self._closed = False

    def changed(self, app: str) -> None:
        """Something an observer could see of this app is different."""
        for pending, wake in zip(self._pending, self._wakes, strict=True):
            pending[app] = None
            wake.set()

    def close(self) -> None:
        """All watchers come to an end."""
        self._closed = True
        for wake in self._wakes:
            wake.set()

    def watch(self) -> AsyncIterator[str]:
        """Names of changed apps from this call on, until closed."""
        pending: dict[str, None] = {}
        wake = asyncio.Event()
        self._pending.append(pending)
        self._wakes.append(wake)
        return self._follow(pending, wake)

    async def _follow(self, pending: dict[str, None], wake: asyncio.Event) -> AsyncIterator[str]:
        try:
            while not self._closed:
                while pending:
                    app = next(iter(pending))
                    del pending[app]
                    yield app
                if not self._closed:
                    await wake.wait()
                    wake.clear()
        finally:
            index = next(i for i, known in enumerate(self._pending) if known is pending)
            del self._pending[index], self._wakes[index]
