"""A clock that stands still until a test moves it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta


class FakeClock:
    """Implements `shared.clock.Clock`. Starts at 2026-01-05 10:00 UTC unless told otherwise."""

    def __init__(self, now: datetime | None = None) -> None:
        self._now = now or datetime(2026, 1, 5, 10, tzinfo=UTC)
        self._sleepers: list[tuple[datetime, asyncio.Future[None]]] = []

    def now(self) -> datetime:
        return self._now

    @property
    def sleepers(self) -> int:
        """How many tasks sleep on this clock: wait for them before moving it."""
        return sum(1 for _, future in self._sleepers if not future.done())

    async def sleep(self, delay: timedelta) -> None:
        if delay <= timedelta():
            await asyncio.sleep(0)
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self._now + delay, future))
        await future

    def advance(self, delay: timedelta) -> None:
        """Move time forward and wake whoever has slept long enough."""
        self._now += delay
        due = [entry for entry in self._sleepers if entry[0] <= self._now]
        self._sleepers = [entry for entry in self._sleepers if entry[0] > self._now]
        for _, future in due:
            if not future.done():
                future.set_result(None)
