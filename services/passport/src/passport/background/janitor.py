"""Removes, once an hour, what has expired."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from passport.repositories.tidy import delete_expired
from passport.services.keys import KeyStore
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

_EVERY: Final = timedelta(hours=1)
_FIRST: Final = timedelta(seconds=30)
_LOCK: Final = "passport-janitor"
log = get_logger(__name__)


class Janitor:
    """Of several processes, one works at a time; that all of them try costs a query an hour."""

    def __init__(self, database: Database, *, keys: KeyStore, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._clock = clock

    async def run(self) -> None:
        """Tidy up until cancelled; not at once, as a start has better things to do."""
        await self._clock.sleep(_FIRST)
        while True:
            await self.tidy()
            await self._clock.sleep(_EVERY)

    async def tidy(self) -> None:
        """Remove what has expired by now, unless another process is at it."""
        async with self._database.try_lock(_LOCK) as is_ours:
            if not is_ours:
                return
            async with self._database.transaction() as session:
                deleted = await delete_expired(session, self._clock.now())
            await self._keys.remove_retired()
        log.info("expired_rows_deleted", count=deleted)
