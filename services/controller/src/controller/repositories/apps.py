"""SQL of apps and their settings.

What every request or release needs is a statement that is made once: building one costs more than running it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import JSON, Select, Text, and_, bindparam, cast, delete, exists, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain.apps import TAKEN_MESSAGE, Actor, App, AppSettings, Person
from controller.domain.errors import AppNotFoundError, InvalidFieldsError
from controller.domain.page import Page
from controller.repositories.rows import to_settings
from controller.schema.accounts import UserRow
from controller.schema.apps import AppPermissionRow, AppRow, AppSettingsRow, ProcessRow
from controller.schema.audit import BLOCKED_APP, BLOCKED_USER, BlockRow
from controller.schema.base import table_of
from shared.db import uuid7

STRUCTURE = (
    select(func.json_object_agg(ProcessRow.ptype, ProcessRow.replicas, type_=JSON))
    .where(ProcessRow.app_uuid == AppRow.uuid)
    .correlate(AppRow)
    .scalar_subquery()
)
_TABLE = table_of(AppRow)
_COLUMNS = (AppRow.uuid, AppRow.name, AppRow.owner_id, AppRow.generation, AppRow.created, AppRow.updated)


@dataclass
class KnownApps:
    """What a unit of work has read of apps, so that the policy and the use case after it read one only once."""

    read: dict[str, App] = field(default_factory=dict)
    locked: dict[str, App] = field(default_factory=dict)

    def forget(self) -> None:
        """Some app has changed."""
        self.read.clear()
        self.locked.clear()


class AppRepository:
    """Apps. A deleted app is found by nothing but `deleted` and `is_taken`."""

    def __init__(self, session: AsyncSession, known: KnownApps | None = None) -> None:
        self._session = session
        self._known = known or KnownApps()

    async def find(self, name: str) -> App | None:
        """The app of that name."""
        app = self._known.read.get(name)
        if app is None and (row := (await self._session.execute(_BY_NAME, {"name": name})).one_or_none()) is not None:
            app = self._known.read[name] = _to_app(row)
        return app

    async def get(self, name: str) -> App:
        """The app of that name.

        Raises:
            AppNotFoundError: there is none.
        """
        app = await self.find(name)
        if app is None:
            raise AppNotFoundError
        return app

    async def lock(self, name: str) -> App:
        """The app, whose writers now wait for this transaction.

        Raises:
            AppNotFoundError: there is none.
        """
        if name not in self._known.locked:
            # Two statements: what the first one waited for is only seen by the next.
            await self._session.execute(_LOCK, {"name": name})
            self._known.forget()
            self._known.locked[name] = await self.get(name)
        return self._known.locked[name]

    async def lock_generation(self, app: App) -> bool:
        """Lock the app; whether it is still there and of the same generation."""
        return await self._session.scalar(_LOCK_GENERATION, {"app": app.uuid}) == app.generation

    async def list_visible(self, *, viewer: Actor, everything: bool, search: str, limit: int, offset: int) -> Page[App]:
        """Apps by name: all, or those that `viewer` owns or was granted to view; `search` is a prefix."""
        wanted = {"viewer": viewer.id, "limit": limit, "offset": offset}
        page, count = (_ALL, _COUNT_ALL) if everything else (_VISIBLE, _COUNT_VISIBLE)
        if search:
            starts = AppRow.name.startswith(search.lower(), autoescape=True)
            page, count = page.where(starts), count.where(starts)
        total = await self._session.scalar(count, wanted)
        rows = await self._session.execute(page, wanted)
        return Page(tuple(map(_to_app, rows)), total or 0)

    async def is_taken(self, name: str) -> bool:
        """Whether an app has that name, be it on its way out."""
        return bool(await self._session.scalar(select(exists().where(AppRow.name == name))))

    async def add(self, name: str, *, owner: Actor, now: datetime) -> App:
        """A new app.

        Raises:
            InvalidFieldsError: another was quicker to take the name.
        """
        uuid = uuid7()
        statement = (
            insert(AppRow)
            .values(
                uuid=uuid, name=name, owner_id=owner.id, generation=1, reconciled_generation=1, created=now, updated=now
            )
            .on_conflict_do_nothing(index_elements=[AppRow.name])
            .returning(AppRow.uuid)
        )
        if (await self._session.execute(statement)).scalar_one_or_none() is None:
            raise InvalidFieldsError.of("id", TAKEN_MESSAGE)
        person = Person(owner.id, owner.username)
        return App(uuid, name, person, {}, generation=1, created=now, updated=now)

    async def bump(self, app: App, *, now: datetime) -> None:
        """Note that what the app should be has changed."""
        self._known.forget()
        await self._session.execute(_BUMP, {"app": app.uuid, "now": now})

    async def set_owner(self, app: App, owner: Actor, *, now: datetime) -> None:
        """Give the app to another person."""
        await self._update(app.uuid, owner_id=owner.id, updated=now)

    async def mark_deleted(self, app: App, *, by: str, now: datetime) -> None:
        """Make the app invisible; the reconciler takes away what runs and then the row."""
        await self._update(app.uuid, deleted_at=now, deleted_by=by, generation=AppRow.generation + 1)

    async def mark_reconciled(self, app: UUID, generation: int) -> None:
        """Note that the engine was told everything up to `generation`."""
        await self._session.execute(_RECONCILED, {"app": app, "reached": generation})

    async def deletion(self, name: str) -> tuple[UUID, str] | None:
        """The key of an app that is on its way out and who sent it there."""
        query = select(AppRow.uuid, AppRow.deleted_by).where(AppRow.name == name, AppRow.deleted_at.is_not(None))
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row[0], row[1] or "")

    async def delete(self, uuid: UUID) -> bool:
        """Remove the row and all that belongs to it; whether it was there."""
        removed = delete(AppRow).where(AppRow.uuid == uuid, AppRow.deleted_at.is_not(None)).returning(AppRow.uuid)
        return (await self._session.execute(removed)).scalar_one_or_none() is not None

    async def names(self, *, unreconciled: bool) -> tuple[str, ...]:
        """The names of all apps, or of those that the engine was not told the newest of; deleted ones included."""
        query = select(AppRow.name)
        if unreconciled:
            dirty = AppRow.generation != AppRow.reconciled_generation
            query = query.where(or_(dirty, AppRow.deleted_at.is_not(None)))
        return tuple((await self._session.scalars(query)).all())

    async def _update(self, app: UUID, **columns: Any) -> None:
        self._known.forget()
        await self._session.execute(update(AppRow).where(AppRow.uuid == app).values(**columns))


class AppSettingsRepository:
    """Versions of apps' settings."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def get(self, app: App) -> AppSettings:
        """The settings that count now."""
        row = (await self._session.execute(_SETTINGS, {"app": app.uuid})).one()
        return to_settings(row, app=app.name, owner=row.username)

    async def add(self, app: App, *, owner: Actor, facts: Mapping[str, Any], now: datetime) -> AppSettings:
        """A new version, with all of its `facts`."""
        uuid = uuid7()
        row = {"uuid": uuid, "app_uuid": app.uuid, "owner_id": owner.id, "created": now, "updated": now}
        await self._session.execute(insert(AppSettingsRow).values(**row, **facts))
        return AppSettings(uuid, app.name, owner.username, now, now, **facts)


def _apps() -> Select[Any]:
    # Columns and not the mapped class: nothing tracks changes of what is only read.
    return (
        select(*_COLUMNS, UserRow.username, STRUCTURE)
        .join(UserRow, UserRow.id == AppRow.owner_id)
        .where(AppRow.deleted_at.is_(None))
    )


def _to_app(found: Sequence[Any]) -> App:
    uuid, name, owner_id, generation, created, updated, owner, structure, *remark = found
    return App(uuid, name, Person(owner_id, owner), structure or {}, generation, created, updated, *remark)


REMARK = (
    select(BlockRow.remark)
    .where(
        or_(
            and_(BlockRow.type == BLOCKED_APP, BlockRow.id == AppRow.name),
            and_(BlockRow.type == BLOCKED_USER, BlockRow.id == cast(AppRow.owner_id, Text)),
        )
    )
    .order_by(BlockRow.type)
    .limit(1)
    .correlate(AppRow)
    .scalar_subquery()
)
_BY_NAME = _apps().add_columns(REMARK).where(AppRow.name == bindparam("name"))
_LOCK = select(AppRow.uuid).where(AppRow.name == bindparam("name")).with_for_update()
_BUMP = (
    update(_TABLE)
    .where(_TABLE.c.uuid == bindparam("app"))
    .values(generation=_TABLE.c.generation + 1, updated=bindparam("now"))
)
_LOCK_GENERATION = (
    select(AppRow.generation).where(AppRow.uuid == bindparam("app"), AppRow.deleted_at.is_(None)).with_for_update()
)
_RECONCILED = (
    update(_TABLE)
    .where(_TABLE.c.uuid == bindparam("app"), _TABLE.c.reconciled_generation < bindparam("reached"))
    .values(reconciled_generation=bindparam("reached"))
)
_SETTINGS = (
    select(*table_of(AppSettingsRow).c, UserRow.username)
    .join(UserRow, UserRow.id == AppSettingsRow.owner_id)
    .where(AppSettingsRow.app_uuid == bindparam("app"))
    .order_by(AppSettingsRow.created.desc(), AppSettingsRow.uuid.desc())
    .limit(1)
)

_ALIVE = AppRow.deleted_at.is_(None)
_MAY_VIEW = or_(
    AppRow.owner_id == bindparam("viewer"),
    exists().where(
        AppPermissionRow.app_uuid == AppRow.uuid,
        AppPermissionRow.user_id == bindparam("viewer"),
        AppPermissionRow.codename == "view",
    ),
)
_ALL = _apps().order_by(AppRow.name).limit(bindparam("limit")).offset(bindparam("offset"))
_VISIBLE = _ALL.where(_MAY_VIEW)
_COUNT_ALL = select(func.count()).select_from(AppRow).where(_ALIVE)
_COUNT_VISIBLE = _COUNT_ALL.where(_MAY_VIEW)
