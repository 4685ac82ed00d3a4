"""Use cases of usage records: they are written when what an app uses changes, and time and again; then they are sent.

Levels and not edges: nobody tells what has changed, a look at the tables does. A change that is over before anybody
looks was not worth telling, and a restart misses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Final

from controller.domain.measurements import (
    Fact,
    Metered,
    Pending,
    day_of,
    hour_of,
    pause_after_refusal,
)
from controller.repositories.measurements import MeasuredRepository, PendingRepository
from controller.uow import Uow

LEASE: Final = timedelta(minutes=1)
APPS_AT_ONCE: Final = 250
BEHIND_AT_ONCE: Final = 50


class Measurements:
    """Usage of apps and the records of it, in the transaction of `uow`."""

    def __init__(self, uow: Uow) -> None:
        self._uow = uow
        self._measured = MeasuredRepository(uow.session)
        self._pending = PendingRepository(uow.session)

    async def measure_changed(self) -> tuple[int, int]:
        """Write records of what apps use now and have not told, and once a day of all that they use. How many apps were
        looked at, at most `APPS_AT_ONCE`, and how many records there are of it."""
        now = self._uow.now()
        if not await self._measured.lock():
            return 0, 0
        day = day_of(now)
        changed = await self._measured.changed(day=day, now=now, most=APPS_AT_ONCE)
        if not changed:
            return 0, 0
        catalog = self._uow.policy.catalog
        apps = [each.app for each in changed]
        facts = await self._measured.facts(apps, plan_of=lambda plan: catalog.plan_of(plan).id)
        await self._measured.note(changed, facts, at=now, day=day, hour=hour_of(now))
        news = [fact for each in changed for fact in each.news(facts[each.app.uuid])]
        return len(changed), await self._pending.add(news, at=now)

    async def behind(self) -> tuple[datetime, Sequence[Metered], Sequence[Metered]]:
        """Apps that have not told the last hour's use: up to when they have, they, and those of them with gateways."""
        since, apps = await self._measured.behind(hour_of(self._uow.now()), most=BEHIND_AT_ONCE)
        balanced = await self._measured.with_gateways(apps) if apps else set()
        return since, apps, [app for app in apps if app.uuid in balanced]

    async def note_hour(
        self, apps: Sequence[Metered], facts: Iterable[Fact], *, since: datetime, until: datetime
    ) -> int:
        """Write what these apps used from `since` to `until`, unless another process was quicker; how many records."""
        mine = await self._measured.advance(apps, since=since, until=until)
        return await self._pending.add((fact for fact in facts if fact["app_id"] in mine), at=self._uow.now())

    async def claim(self, *, most: int) -> Sequence[Pending]:
        """The oldest records, for a minute nobody else's: whoever dies meanwhile has them sent again by another."""
        now = self._uow.now()
        return await self._pending.claim(now=now, until=now + LEASE, most=most)

    async def taken(self, records: Sequence[Pending]) -> None:
        """The manager has them."""
        await self._pending.delete(records)

    async def put_back(self, records: Sequence[Pending]) -> int:
        """The manager did not get them; how many wait now."""
        await self._pending.put_back(records, due_at=self._uow.now())
        return await self._pending.count()

    async def refused(self, record: Pending) -> datetime:
        """The manager does not want this one: it is kept, and out of the way of the others until the time returned."""
        again = self._uow.now() + pause_after_refusal(record.attempts + 1)
        await self._pending.put_back([record], due_at=again, refused=True)
        return again
