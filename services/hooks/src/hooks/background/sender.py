"""The sender: claims due deliveries, attempts them side by side, and records what came of each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

from hooks.background.attempt import Poster
from hooks.domain.delivery import Delivery, Outcome, Target, backoff
from hooks.metrics import ATTEMPTS
from hooks.repositories.deliveries import Deliveries
from hooks.services.deliveries import CHANNEL
from shared.clock import Clock
from shared.db import Database, is_database_away
from shared.logging import get_logger

# Beyond the time for the attempt itself: what it may take to record it.
LEASE_MARGIN = timedelta(seconds=30)
# NOTIFY wakes the sender; this bounds what a lost one costs.
LONGEST_REST = timedelta(minutes=1)
# A due row may be under another sender's hands; asking again without a pause would only burn time.
CONTENTION_PAUSE_SECONDS = 0.02
DATABASE_RETRY = timedelta(seconds=1)
GIVE_BACK_SECONDS = 2.0
log = get_logger(__name__)


class Sender:
    """Delivers at least once. Several may run on one database: a claimed delivery is leased to one of them."""

    def __init__(
        self,
        database: Database,
        poster: Poster,
        *,
        targets: Sequence[Target],
        timeout: timedelta,
        concurrency: int,
        clock: Clock,
    ) -> None:
        self._database = database
        self._poster = poster
        self._targets = {target.digest: target for target in targets}
        self._lease = timeout + LEASE_MARGIN
        self._concurrency = concurrency
        self._clock = clock
        self._in_flight = 0
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Deliver until cancelled. Deliveries in flight at that moment are given back and sent again later."""
        async with self._database.listen(CHANNEL) as wakeups, asyncio.TaskGroup() as group:
            group.create_task(self._follow(wakeups), name="hooks.wakeups")
            while True:
                self._wake.clear()
                await self._rest(await self._send_due(group))

    async def _follow(self, wakeups: AsyncIterator[str]) -> None:
        async for _channel in wakeups:
            self._wake.set()

    async def _send_due(self, group: asyncio.TaskGroup) -> timedelta:
        """Begin what is due; gives the time until there is more. A database that is away is waited for."""
        try:
            for delivery in await self._claim():
                self._in_flight += 1
                group.create_task(self._deliver(delivery), name=f"hooks.delivery.{delivery.id}")
            return await self._until_due()
        except Exception as exc:
            if not is_database_away(exc):
                raise
            log.warning("deliveries_not_readable", error=type(exc).__name__)
            return DATABASE_RETRY

    async def _claim(self) -> list[Delivery]:
        free = self._concurrency - self._in_flight
        if free <= 0:
            return []
        async with self._database.transaction() as session:
            return await Deliveries(session).claim(now=self._clock.now(), lease=self._lease, limit=free)

    async def _rest(self, delay: timedelta) -> None:
        """Return after `delay`, or when a delivery was scheduled or one in flight has made room."""
        if delay <= timedelta():
            await asyncio.sleep(CONTENTION_PAUSE_SECONDS)
            return
        waiting = asyncio.create_task(self._wake.wait())
        sleeping = asyncio.create_task(self._clock.sleep(delay))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()

    async def _until_due(self) -> timedelta:
        if self._in_flight >= self._concurrency:
            return LONGEST_REST
        async with self._database.session() as session:
            due = await Deliveries(session).next_due()
        return LONGEST_REST if due is None else min(due - self._clock.now(), LONGEST_REST)

    async def _deliver(self, delivery: Delivery) -> None:
        try:
            outcome = await self._attempt(delivery)
            await self._record(delivery, outcome)
        except asyncio.CancelledError:
            await self._give_back(delivery)
            raise
        finally:
            self._in_flight -= 1
            self._wake.set()

    async def _attempt(self, delivery: Delivery) -> Outcome:
        target = self._targets.get(delivery.target)
        if target is None:
            return Outcome(status=None, error="the URL is no longer configured", is_final=True)
        return await self._poster.post(delivery, target)

    async def _record(self, delivery: Delivery, outcome: Outcome) -> None:
        now = self._clock.now()
        retry_at = now + backoff(delivery.attempts)
        is_over = outcome.is_delivered or outcome.is_final or retry_at > delivery.give_up_at
        if not await self._settle(delivery, outcome, retry_at=None if is_over else retry_at, now=now):
            # Nobody else can know what came of it: when the lease ends, it is sent again.
            log.error("deploy_hook_not_recorded", delivery=str(delivery.id), status=outcome.status)
            return
        _report(delivery, outcome, retry_at=None if is_over else retry_at)

    async def _settle(self, delivery: Delivery, outcome: Outcome, *, retry_at: datetime | None, now: datetime) -> bool:
        """Store what came of an attempt; while the lease lasts, a database that is away is waited for."""
        while delivery.leased_until is None or self._clock.now() < delivery.leased_until:
            try:
                async with self._database.transaction() as session:
                    if retry_at is None:
                        await Deliveries(session).finish(delivery, outcome, now=now)
                    else:
                        await Deliveries(session).put_off(delivery, outcome, until=retry_at)
            except Exception as exc:
                if not is_database_away(exc):
                    raise
                log.warning("deliveries_not_writable", error=type(exc).__name__)
                await self._clock.sleep(DATABASE_RETRY)
            else:
                return True
        return False

    async def _give_back(self, delivery: Delivery) -> None:
        try:
            async with asyncio.timeout(GIVE_BACK_SECONDS), self._database.transaction() as session:
                await Deliveries(session).release(delivery)
        except Exception as exc:
            if not is_database_away(exc):
                raise
            # Nothing is lost: the lease ends by itself, then the delivery is claimed again.
            log.warning("deploy_hook_not_given_back", delivery=str(delivery.id), error=type(exc).__name__)


def _report(delivery: Delivery, outcome: Outcome, *, retry_at: datetime | None) -> None:
    facts = {
        "app": delivery.facts.app, "version": delivery.facts.version, "url": delivery.url,
        "delivery": str(delivery.id), "attempt": delivery.attempts, "status": outcome.status,
    }  # fmt: skip
    if outcome.is_delivered:
        ATTEMPTS.labels("delivered").inc()
        log.info("deploy_hook_sent", **facts)
    elif retry_at is not None:
        ATTEMPTS.labels("retried").inc()
        log.info("deploy_hook_put_off", **facts, error=outcome.error, retry_at=retry_at.isoformat())
    else:
        ATTEMPTS.labels("failed").inc()
        log.warning("deploy_hook_failed", **facts, error=outcome.error)
