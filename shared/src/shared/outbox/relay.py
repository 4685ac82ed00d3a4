"""Publishes the outbox: at least once, in order per subject, subjects in parallel, again after failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import Table

from shared.bus.port import Bus, describe
from shared.clock import Clock, SystemClock
from shared.db.database import Database, is_database_away
from shared.events.base import Envelope
from shared.logging import get_logger
from shared.metrics import EVENTS_DEAD, EVENTS_FAILED, EVENTS_PUBLISHED
from shared.outbox.queue import LEASE_SECONDS, Claimed, OutboxQueue

MAX_ATTEMPTS: Final = 20
_POLL = timedelta(seconds=5)
_DATABASE_RETRY: Final = timedelta(seconds=1)
_TIDY_EVERY: Final = timedelta(minutes=10)
_TIDY_FIRST: Final = timedelta(seconds=30)
_KEEP_PUBLISHED: Final = timedelta(days=1)
_KEEP_HANDLED: Final = timedelta(days=30)
_PUBLISH_TIMEOUT_SECONDS: Final = 90.0
_GIVE_UP_SECONDS: Final = 2.0
_SUBJECTS_AT_ONCE: Final = 16
log = get_logger(__name__)


def retry_delay(attempts: int) -> timedelta:
    """Pause after failure number `attempts` (from 1): 0.1 s, doubled each time, at most a minute."""
    return timedelta(seconds=min(0.1 * 2 ** (attempts - 1), 60.0))


class Relay:
    """Moves rows of `table` to `bus`. Several may run on one table.

    A row that failed twenty times is parked as dead, so that the later events of its subject can go on.
    """

    def __init__(self, database: Database, table: Table, bus: Bus, clock: Clock | None = None) -> None:
        self._database = database
        self._table = table
        self._bus = bus
        self._clock = clock or SystemClock()
        self._queue = OutboxQueue(database, table, owner=uuid4())
        self._wake = asyncio.Event()
        self._busy: dict[asyncio.Task[None], int] = {}
        self._retries: list[datetime] = []

    async def run(self) -> None:
        """Publish until cancelled. A database or a bus that is away is waited for."""
        try:
            async with asyncio.TaskGroup() as group:
                for loop in (self._listen, self._keep_leases, self._tidy):
                    group.create_task(loop(), name=f"relay{loop.__name__}")
                await self._work(group)
        finally:
            await self._give_up_leases()

    async def replay_dead(self) -> int:
        """Make every parked event pending again; returns how many there were."""
        return await self._queue.replay_dead()

    async def _work(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._wake.clear()
            free = _SUBJECTS_AT_ONCE - len(self._busy)
            rows = await self._claim(free) if free else []
            for row in rows:
                task = group.create_task(self._publish(row))
                self._busy[task] = row.seq
                task.add_done_callback(self._done)
            if len(rows) < free or not free:
                await self._wait()

    def _done(self, task: asyncio.Task[None]) -> None:
        self._busy.pop(task, None)
        self._wake.set()

    async def _claim(self, limit: int) -> list[Claimed]:
        try:
            return await self._queue.claim(now=self._clock.now(), limit=limit, busy=list(self._busy.values()))
        except Exception as exc:
            if not is_database_away(exc):
                raise
            log.warning("outbox_not_readable", error=describe(exc))
            await self._clock.sleep(_DATABASE_RETRY)
            self._wake.set()
            return []

    async def _wait(self) -> None:
        """Return at the next notification, finished event, due retry or poll, whichever comes first."""
        now = self._clock.now()
        pause = min([_POLL, *(max(due - now, timedelta()) for due in self._retries)])
        wake = asyncio.ensure_future(self._wake.wait())
        timer = asyncio.ensure_future(self._clock.sleep(pause))
        try:
            await asyncio.wait((wake, timer), return_when=asyncio.FIRST_COMPLETED)
        finally:
            wake.cancel()
            timer.cancel()
        now = self._clock.now()
        self._retries = [due for due in self._retries if due > now]

    async def _publish(self, row: Claimed) -> None:
        source = str(row.envelope.get("source"))
        try:
            async with asyncio.timeout(_PUBLISH_TIMEOUT_SECONDS):
                await self._bus.publish(Envelope.model_validate(row.envelope))
        except Exception as exc:
            EVENTS_FAILED.labels(source).inc()
            await self._failed(row, exc)
        else:
            EVENTS_PUBLISHED.labels(source).inc()
            await self._settle(lambda: self._queue.mark_published(row))

    async def _failed(self, row: Claimed, exc: Exception) -> None:
        attempts = row.attempts + 1
        error = describe(exc)
        facts = {"event_id": row.envelope.get("id"), "event_type": row.envelope.get("type"), "attempts": attempts}
        if attempts >= MAX_ATTEMPTS:
            EVENTS_DEAD.labels(str(row.envelope.get("source"))).inc()
            log.error("event_parked", error=error, **facts)
            await self._settle(lambda: self._queue.mark_failed(row, error=error, again=None))
            return
        again = self._clock.now() + retry_delay(attempts)
        self._retries.append(again)
        log.warning("event_not_published", error=error, **facts)
        await self._settle(lambda: self._queue.mark_failed(row, error=error, again=again))

    async def _settle(self, settle: Callable[[], Awaitable[None]]) -> None:
        """Record what became of a row; a row that is not settled would keep its lease, so this does not give up."""
        while True:
            try:
                return await settle()
            except Exception as exc:
                if not is_database_away(exc):
                    raise
                log.warning("outbox_not_writable", error=describe(exc))
                await self._clock.sleep(_DATABASE_RETRY)

    async def _listen(self) -> None:
        async with self._database.listen(self._table.name) as notifications:
            async for _ in notifications:
                self._wake.set()

    async def _keep_leases(self) -> None:
        # On the machine's clock: leases are compared with the clock of the database.
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            if self._busy:
                await self._try(self._queue.renew(list(self._busy.values())))

    async def _tidy(self) -> None:
        await self._clock.sleep(_TIDY_FIRST)  # a start has better things to do
        while True:
            await self._try(self._queue.delete_published(older_than=_KEEP_PUBLISHED))
            await self._try(self._queue.delete_handled(older_than=_KEEP_HANDLED))
            await self._clock.sleep(_TIDY_EVERY)

    async def _give_up_leases(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GIVE_UP_SECONDS):
                await self._try(self._queue.release())

    async def _try(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as exc:
            if not is_database_away(exc):
                raise
            log.warning("outbox_not_writable", error=describe(exc))
