"""SQL of usage records: which apps are to be measured, what they use, and what the manager has not taken yet."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import delete, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.measurements import (
    Changed,
    Fact,
    Metered,
    Pending,
    limits_fact,
    resource_fact,
    volume_fact,
)
from controller.domain.volumes import size_bytes
from controller.schema.apps import AppRow, ConfigRow, ProcessRow, ReleaseRow
from controller.schema.base import table_of
from controller.schema.ingress import GatewayRow
from controller.schema.measurements import MeasuredAppRow, MeasurementRow
from controller.schema.storage import ResourceRow, VolumeRow
from shared.db import DbSession, uuid7

_LOCK: Final = "measure-apps"
_A_SECOND: Final = timedelta(seconds=1)


class MeasuredRepository:
    """How far apps are measured, and what they use now."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def lock(self) -> bool:
        """Be the only one that looks for changes until the transaction ends; False at once when somebody else is."""
        lock = func.pg_try_advisory_xact_lock(func.hashtextextended(_LOCK, 0))
        return bool(await self._session.scalar(select(lock)))

    async def changed(self, *, day: datetime, now: datetime, most: int) -> list[Changed]:
        """Apps that use something else than when they were measured, perhaps, or that have not told all for `day`."""
        # Releases reach processes, and brokers change resources, without a new generation of the app.
        processes, resources = (
            select(row.app_uuid, func.max(row.updated).label("updated")).group_by(row.app_uuid).subquery()
            for row in (ProcessRow, ResourceRow)
        )
        mark = func.concat_ws(
            " ", AppRow.generation, AppRow.owner_id, processes.c.updated, literal("/"), resources.c.updated
        )
        query = (
            select(AppRow.uuid, AppRow.name, AppRow.owner_id, mark, MeasuredAppRow.facts, MeasuredAppRow.day)
            .outerjoin(MeasuredAppRow, MeasuredAppRow.app_uuid == AppRow.uuid)
            .outerjoin(processes, processes.c.app_uuid == AppRow.uuid)
            .outerjoin(resources, resources.c.app_uuid == AppRow.uuid)
            .where(AppRow.deleted_at.is_(None))
            .where(or_(MeasuredAppRow.app_uuid.is_(None), MeasuredAppRow.mark != mark, MeasuredAppRow.day < day))
            # One object has no two records of the same second, as by these the manager knows them apart.
            .where(func.coalesce(MeasuredAppRow.at, now - _A_SECOND) <= now - _A_SECOND)
            .order_by(AppRow.name)  # as those who lock several apps do, whom the foreign key makes us wait for
            .limit(most)
        )
        return [
            Changed(Metered(uuid, name, owner), mark, facts or (), is_daily=told is None or told < day)
            for uuid, name, owner, mark, facts, told in await self._session.execute(query)
        ]

    async def facts(self, apps: Collection[Metered], *, plan_of: Callable[[str | None], str]) -> dict[UUID, list[Fact]]:
        """What these apps use now; `plan_of` gives the plan that a process type gets from the one that it asks for."""
        by_uuid = {app.uuid: app for app in apps}
        facts: dict[UUID, list[Fact]] = {app.uuid: [] for app in apps}
        for app, ptype, replicas, limits in await self._session.execute(_LIMITS.where(_of(ProcessRow, by_uuid))):
            plan = plan_of(limits.get(ptype))
            facts[app].append(limits_fact(by_uuid[app], ptype=ptype, plan=plan, replicas=replicas))
        for app, name, kind, size in await self._session.execute(_VOLUMES.where(_of(VolumeRow, by_uuid))):
            facts[app].append(volume_fact(by_uuid[app], volume=name, kind=kind, size_bytes=size_bytes(size)))
        for app, name, plan in await self._session.execute(_RESOURCES.where(_of(ResourceRow, by_uuid))):
            facts[app].append(resource_fact(by_uuid[app], resource=name, plan=plan))
        return facts

    async def note(
        self, apps: Iterable[Changed], facts: Mapping[UUID, list[Fact]], *, at: datetime, day: datetime, hour: datetime
    ) -> None:
        """These apps are measured. What goes by the hour begins at `hour` for those that are new."""
        rows = [
            {"app_uuid": each.app.uuid, "mark": each.mark, "facts": facts[each.app.uuid], "at": at, "day": day}
            for each in apps
        ]
        statement = insert(table_of(MeasuredAppRow)).values(hour=hour)
        renewed = {name: statement.excluded[name] for name in ("mark", "facts", "at", "day")}
        index = [MeasuredAppRow.app_uuid]
        await self._session.execute(statement.on_conflict_do_update(index_elements=index, set_=renewed), rows)

    async def behind(self, hour: datetime, *, most: int) -> tuple[datetime, list[Metered]]:
        """Apps whose traffic is told up to the same earlier hour, the earliest there is, and that hour."""
        known = select(MeasuredAppRow.hour, AppRow.uuid, AppRow.name, AppRow.owner_id).join(
            AppRow, AppRow.uuid == MeasuredAppRow.app_uuid
        )
        known = known.where(MeasuredAppRow.hour < hour, AppRow.deleted_at.is_(None))
        rows = (await self._session.execute(known.order_by(MeasuredAppRow.hour, AppRow.name).limit(most))).all()
        since = rows[0][0] if rows else hour
        return since, [Metered(uuid, name, owner) for own, uuid, name, owner in rows if own == since]

    async def with_gateways(self, apps: Iterable[Metered]) -> set[UUID]:
        """Those of them that have gateways."""
        uuids = [app.uuid for app in apps]
        return set(await self._session.scalars(select(GatewayRow.app_uuid).where(GatewayRow.app_uuid.in_(uuids))))

    async def advance(self, apps: Iterable[Metered], *, since: datetime, until: datetime) -> set[str]:
        """Their traffic is told up to `until`; the names of those for which nobody was quicker."""
        uuids = [app.uuid for app in apps]
        moved = update(MeasuredAppRow).where(MeasuredAppRow.app_uuid.in_(uuids), MeasuredAppRow.hour == since)
        mine = set(await self._session.scalars(moved.values(hour=until).returning(MeasuredAppRow.app_uuid)))
        return {app.name for app in apps if app.uuid in mine}


class PendingRepository:
    """Records that the manager has not taken."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def add(self, facts: Iterable[Fact], *, at: datetime) -> int:
        """Facts to be sent, as they are at that time; how many."""
        moment = int(at.timestamp())
        rows = [
            {"uuid": uuid7(), "record": {**fact, "timestamp": moment}, "attempts": 0, "due_at": at} for fact in facts
        ]
        if rows:
            await self._session.execute(insert(table_of(MeasurementRow)), rows)
        return len(rows)

    async def claim(self, *, now: datetime, until: datetime, most: int) -> list[Pending]:
        """The oldest that are due, and nobody else's `until` then."""
        due = select(MeasurementRow.uuid).where(MeasurementRow.due_at <= now).order_by(MeasurementRow.uuid).limit(most)
        mine = update(MeasurementRow).where(MeasurementRow.uuid.in_(due.with_for_update(skip_locked=True)))
        columns = (MeasurementRow.uuid, MeasurementRow.record, MeasurementRow.attempts)
        rows = await self._session.execute(mine.values(due_at=until).returning(*columns))
        return sorted((Pending(*row) for row in rows), key=lambda each: each.uuid)

    async def delete(self, records: Iterable[Pending]) -> None:
        """The manager has taken them."""
        await self._session.execute(delete(MeasurementRow).where(_among(records)))

    async def put_back(self, records: Iterable[Pending], *, due_at: datetime, refused: bool = False) -> None:
        """They are to be sent again, from then on; `refused` counts as an attempt."""
        columns: dict[str, Any] = {"due_at": due_at}
        if refused:
            columns["attempts"] = MeasurementRow.attempts + 1
        await self._session.execute(update(MeasurementRow).where(_among(records)).values(**columns))

    async def count(self) -> int:
        """How many there are."""
        return await self._session.scalar(select(func.count()).select_from(MeasurementRow)) or 0


def _of(row: type[ProcessRow | ResourceRow | VolumeRow], apps: Collection[UUID]) -> Any:
    return row.app_uuid.in_(list(apps))


def _among(records: Iterable[Pending]) -> Any:
    return MeasurementRow.uuid.in_([record.uuid for record in records])


# A process type without a release runs nothing, whatever it is scaled to.
_LIMITS: Final = (
    select(ProcessRow.app_uuid, ProcessRow.ptype, ProcessRow.replicas, ConfigRow.limits)
    .join(ReleaseRow, (ReleaseRow.app_uuid == ProcessRow.app_uuid) & (ReleaseRow.version == ProcessRow.release))
    .join(ConfigRow, ConfigRow.uuid == ReleaseRow.config_uuid)
    .order_by(ProcessRow.ptype)
)
_VOLUMES: Final = select(VolumeRow.app_uuid, VolumeRow.name, VolumeRow.type, VolumeRow.size).order_by(VolumeRow.name)
_RESOURCES: Final = select(ResourceRow.app_uuid, ResourceRow.name, ResourceRow.plan).order_by(ResourceRow.name)
