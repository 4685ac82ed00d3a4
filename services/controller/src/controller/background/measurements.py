"""Tells the billing manager what apps use. Runs only where there is one.

What is to be told is written down first, in the transaction that notes that it was measured, and removed when the
manager has taken it: it gets each record at least once, always the same, whatever dies in between.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from controller.background.rounds import go_round
from controller.domain.measurements import (
    LONGEST_WINDOW,
    Fact,
    Metered,
    Pending,
    Verdict,
    hour_of,
    load_balancer_facts,
    pause_after_failure,
    traffic_fact,
)
from controller.engine.port import Engine
from controller.manager_client import Manager
from controller.metrics_client import Prometheus
from controller.services.confirmation import UnitOfWork
from controller.services.measurements import APPS_AT_ONCE, Measurements
from shared.clock import Clock
from shared.errors import SuiteError
from shared.logging import get_logger

LOOK_EVERY: Final = timedelta(seconds=10)
LOOK_AT_HOURS_EVERY: Final = timedelta(minutes=1)
BATCH: Final = 500
MANY: Final = 100_000

log = get_logger(__name__)


class Meter:
    """Writes usage records: of what has changed within ten seconds, of everything once a day and of traffic and load
    balancers once an hour. Several may run; each record is written by one of them."""

    def __init__(self, *, unit_of_work: UnitOfWork, engine: Engine, metrics: Prometheus | None, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._engine = engine
        self._metrics = metrics
        self._clock = clock

    async def watch_apps(self) -> None:
        """Measure what apps have, until cancelled."""
        await self._every(LOOK_EVERY, self.measure_apps)

    async def watch_hours(self) -> None:
        """Measure traffic and load balancers, until cancelled."""
        await self._every(LOOK_AT_HOURS_EVERY, self.measure_hour)

    async def measure_apps(self) -> None:
        """Write down what apps use and have not told."""
        while True:
            async with self._unit_of_work() as uow:
                apps, records = await Measurements(uow).measure_changed()
            if records:
                log.info("apps_measured", apps=apps, records=records)
            if apps < APPS_AT_ONCE:
                return

    async def measure_hour(self) -> None:
        """Write down what apps used until the last full hour.

        Raises:
            UnavailableError: the metrics store cannot say; come again, and the same time is asked for.
        """
        until = hour_of(self._clock.now())
        while True:
            async with self._unit_of_work() as uow:
                since, apps, balanced = await Measurements(uow).behind()
            if not apps:
                return
            facts = await self._traffic(apps, since=since, until=until)
            for app in balanced:
                facts += await self._load_balancers(app)
            async with self._unit_of_work() as uow:
                records = await Measurements(uow).note_hour(apps, facts, since=since, until=until)
            if records:
                log.info("hour_measured", apps=len(apps), records=records)

    async def _traffic(self, apps: Sequence[Metered], *, since: datetime, until: datetime) -> list[Fact]:
        if self._metrics is None:
            return []
        first = max(since, until - LONGEST_WINDOW)
        if first > since:
            log.warning("traffic_too_old_to_measure", apps=len(apps), since=since.isoformat(), until=first.isoformat())
        by_name = {app.name: app for app in apps}
        found = await self._metrics.traffic(list(by_name), since=first, until=until)
        return [
            traffic_fact(by_name[each.app], each, since=first, until=until) for each in found if each.app in by_name
        ]

    async def _load_balancers(self, app: Metered) -> list[Fact]:
        try:
            return load_balancer_facts(app, (await self._engine.network(app.name)).addresses)
        except SuiteError as error:  # one app that cannot be looked at is no reason to measure none
            log.warning("load_balancers_not_measured", app=app.name, code=error.code)
            return []

    async def _every(self, pause: timedelta, measure: Callable[[], Awaitable[None]]) -> None:
        async def work() -> timedelta:
            await measure()
            return pause

        await go_round(work, clock=self._clock, task="measure", after_failure=pause)


class UsageReporter:
    """Sends the records, the oldest first, in batches. Several may run; a record is sent by one of them.

    A manager that does not work is tried again, with half of the batch, after pauses that double up to five minutes.
    Of a batch that it refuses half is tried at once; a record that it refuses alone is put aside for an hour, then
    longer, up to a day. None is given up.
    """

    def __init__(self, *, unit_of_work: UnitOfWork, manager: Manager, clock: Clock) -> None:
        self._unit_of_work = unit_of_work
        self._manager = manager
        self._clock = clock
        self._most = BATCH
        self._failures = 0

    async def run(self) -> None:
        """Send until cancelled. A database that is away is waited for."""
        await go_round(self.send, clock=self._clock, task="report_usage", after_failure=LOOK_EVERY)

    async def send(self) -> timedelta:
        """Send one batch, if there is one; how long to wait before the next."""
        async with self._unit_of_work() as uow:
            records = await Measurements(uow).claim(most=self._most)
        if not records:
            return LOOK_EVERY
        verdict, reason = await self._manager.report([each.record for each in records])
        async with self._unit_of_work() as uow:
            if verdict is Verdict.TAKEN:
                return await self._taken(Measurements(uow), records)
            if verdict is Verdict.REFUSED:
                return await self._refused(Measurements(uow), records, reason)
            return await self._away(Measurements(uow), records, reason)

    async def _taken(self, measurements: Measurements, records: Sequence[Pending]) -> timedelta:
        await measurements.taken(records)
        self._most = min(BATCH, 2 * self._most)
        self._failures = 0
        log.info("usage_reported", records=len(records))
        return timedelta()

    async def _refused(self, measurements: Measurements, records: Sequence[Pending], reason: str) -> timedelta:
        if len(records) > 1:
            self._most = len(records) // 2
            await measurements.put_back(records)
            return timedelta()
        record, again = records[0], await measurements.refused(records[0])
        facts = {name: record.record[name] for name in ("app_id", "type", "name", "timestamp")}
        log.error("usage_record_refused", reason=reason, attempts=record.attempts + 1, again=again.isoformat(), **facts)
        return self._pause()

    async def _away(self, measurements: Measurements, records: Sequence[Pending], reason: str) -> timedelta:
        self._most = max(1, len(records) // 2)  # perhaps it was too slow for so many
        waiting, pause = await measurements.put_back(records), self._pause()
        tell = log.warning if waiting < MANY else log.error
        tell("usage_not_reported", reason=reason, waiting=waiting, again_in_seconds=round(pause.total_seconds(), 1))
        return pause

    def _pause(self) -> timedelta:
        self._failures += 1
        return pause_after_failure(self._failures) * random.uniform(0.5, 1.0)  # noqa: S311  spreads load, no secret
