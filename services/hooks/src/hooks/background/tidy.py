"""Forgets what is long over: finished deliveries and the inbox's memory of events."""

from __future__ import annotations

from datetime import timedelta

import sqlalchemy as sa

from hooks.schema import deliveries, inbox
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

PERIOD = timedelta(hours=1)
log = get_logger(__name__)


class Tidier:
    """Deletes what is older than `keep`. `keep` must exceed the time for which the bus may deliver an event again."""

    def __init__(self, database: Database, *, keep: timedelta, clock: Clock) -> None:
        self._database = database
        self._keep = keep
        self._clock = clock

    async def run(self) -> None:
        """Tidy once an hour until cancelled."""
        while True:
            await self.tidy()
            await self._clock.sleep(PERIOD)

    async def tidy(self) -> None:
        """One pass."""
        before = self._clock.now() - self._keep
        async with self._database.transaction() as session:
            gone = await session.execute(
                sa.delete(deliveries).where(deliveries.c.finished_at < before).returning(deliveries.c.id)
            )
            await session.execute(sa.delete(inbox).where(inbox.c.received_at < before))
            count = len(gone.all())
        if count:
            log.info("deliveries_forgotten", count=count)
