"""Forgets what has been kept long enough: entries of the audit trail, and answers to requests that may come again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from controller.background.rounds import go_round
from controller.repositories.audit import AuditRepository
from controller.repositories.idempotency import prune_answers
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

EVERY: Final = timedelta(hours=1)
FIRST: Final = timedelta(minutes=1)
BATCH: Final = 5_000
_LOCK: Final = "prune"
log = get_logger(__name__)


class Pruner:
    """Looks once an hour; of several processes only one does the work."""

    def __init__(
        self, *, database: Database, clock: Clock, audit_retention: timedelta, idempotency_retention: timedelta
    ) -> None:
        self._database = database
        self._clock = clock
        self._audit_retention = audit_retention
        self._idempotency_retention = idempotency_retention

    async def run(self) -> None:
        """Work until cancelled. A database that is away is waited for."""
        await self._clock.sleep(FIRST)  # a start has better things to do
        await go_round(self.prune, clock=self._clock, task="prune", after_failure=EVERY)

    async def prune(self) -> timedelta:
        """Forget what is due, unless another process is doing so; how long to wait before the next look."""
        async with self._database.try_lock(_LOCK) as mine:
            if not mine:
                return EVERY
            now = self._clock.now()
            entries = await self._forget(_forget_entries, now - self._audit_retention)
            answers = await self._forget(_forget_answers, now - self._idempotency_retention)
        if entries or answers:
            log.info("pruned", audit_entries=entries, answers=answers)
        return EVERY

    async def _forget(self, forget: Callable[[AsyncSession, datetime], Awaitable[int]], older_than: datetime) -> int:
        """In transactions of a bounded size; how many there were."""
        total = 0
        while True:
            async with self._database.transaction() as session:
                gone = await forget(session, older_than)
            total += gone
            if gone < BATCH:
                return total


async def _forget_entries(session: AsyncSession, older_than: datetime) -> int:
    return await AuditRepository(session).prune(older_than=older_than, most=BATCH)


async def _forget_answers(session: AsyncSession, older_than: datetime) -> int:
    return await prune_answers(session, older_than=older_than, most=BATCH)
