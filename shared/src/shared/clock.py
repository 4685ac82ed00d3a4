"""Time as a dependency, so that rules about time can be tested without waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """What our code may ask about time."""

    def now(self) -> datetime:
        """The present instant, aware and in UTC."""
        ...

    async def sleep(self, delay: timedelta) -> None:
        """Return after `delay` has passed on this clock; at once when it is not positive."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(max(0.0, delay.total_seconds()))
