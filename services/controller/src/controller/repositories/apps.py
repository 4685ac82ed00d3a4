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

from controller.domain.apps import TAKEN_MESSAGE, Actor, App, AppSettings, Person
from controller.domain.errors import AppNotFoundError, InvalidFieldsError
from controller.domain.page import Page
from controller.repositories.rows import to_settings
from controller.schema.accounts import UserRow
from controller.schema.apps import AppPermissionRow, AppRow, AppSettingsRow, ProcessRow
from controller.schema.audit import BLOCKED_APP, BLOCKED_USER, BlockRow
from controller.schema.base import table_of
from shared.db import DbSession, uuid7

_APPS = table_of(AppRow)
_USERS = table_of(UserRow)
_PROCESSES = table_of(ProcessRow)
_GRANTS = table_of(AppPermissionRow)
_BLOCKS = table_of(BlockRow)
_APP_SETTINGS = table_of(AppSettingsRow)

STRUCTURE = (
    select(func.json_object_agg(_PROCESSES.c.ptype, _PROCESSES.c.replicas, type_=JSON))
    .where(_PROCESSES.c.app_uuid == _APPS.c.uuid)
    .correlate(_APPS)
    .scalar_subquery()
)
_COLUMNS = (_APPS.c.uuid, _APPS.c.name, _APPS.c.owner_id, _APPS.c.generation, _APPS.c.created, _APPS.c.updated)


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

    def __init__(self, session: DbSession, known: KnownApps | None = None) -> None:
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
            starts = _APPS.c.name.startswith(search.lower(), autoescape=True)
            page, count = page.where(starts), count.where(starts)
        total = await self._session.scalar(count, wanted)
        rows = await self._session.execute(page, wanted)
        return Page(tuple(map(_to_app, rows)), total or 0)

    async def is_taken(self, name: str) -> bool:
        """Whether an app has that name, be it on its way out."""
        return bool(await self._session.scalar(select(exists().where(_APPS.c.name == name))))

    async def add(self, name: str, *, owner: Actor, now: datetime) -> App:
        """A new app.

        Raises:
            InvalidFieldsError: another was quicker to take the name.
        """
        uuid = uuid7()
        statement = (
            insert(_APPS)
            .values(
                uuid=uuid, name=name, owner_id=owner.id, generation=1, reconciled_generation=1, created=now, updated=now
            )
            .on_conflict_do_nothing(index_elements=[_APPS.c.name])
            .returning(_APPS.c.uuid)
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
        await self._update(app.uuid, deleted_at=now, deleted_by=by, generation=_APPS.c.generation + 1)

    async def mark_reconciled(self, app: UUID, generation: int) -> None:
        """Note that the engine was told everything up to `generation`."""
        await self._session.execute(_RECONCILED, {"app": app, "reached": generation})

    async def deletion(self, name: str) -> tuple[UUID, str] | None:
        """The key of an app that is on its way out and who sent it there."""
        query = select(_APPS.c.uuid, _APPS.c.deleted_by).where(_APPS.c.name == name, _APPS.c.deleted_at.is_not(None))
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else (row[0], row[1] or "")

    async def delete(self, uuid: UUID) -> bool:
        """Remove the row and all that belongs to it; whether it was there."""
        removed = delete(_APPS).where(_APPS.c.uuid == uuid, _APPS.c.deleted_at.is_not(None)).returning(_APPS.c.uuid)
        return (await self._session.execute(removed)).scalar_one_or_none() is not None

    async def names(self, *, unreconciled: bool) -> tuple[str, ...]:
        """The names of all apps, or of those that the engine was not told the newest of; deleted ones included."""
        query = select(_APPS.c.name)
        if unreconciled:
            dirty = _APPS.c.generation != _APPS.c.reconciled_generation
            query = query.where(or_(dirty, _APPS.c.deleted_at.is_not(None)))
        return tuple((await self._session.scalars(query)).all())

    async def _update(self, app: UUID, **columns: Any) -> None:
        self._known.forget()
        await self._session.execute(update(_APPS).where(_APPS.c.uuid == app).values(**columns))


class AppSettingsRepository:
    """Versions of apps' settings."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def get(self, app: App) -> AppSettings:
        """The settings that count now."""
        row = (await self._session.execute(_SETTINGS, {"app": app.uuid})).one()
        return to_settings(row, app=app.name, owner=row.username)

    async def add(self, app: App, *, owner: Actor, facts: Mapping[str, Any], now: datetime) -> AppSettings:
        """A new version, with all of its `facts`."""
        uuid = uuid7()
        row = {"uuid": uuid, "app_uuid": app.uuid, "owner_id": owner.id, "created": now, "updated": now}
        await self._session.execute(insert(_APP_SETTINGS).values(**row, **facts))
        return AppSettings(uuid, app.name, owner.username, now, now, **facts)


def _apps() -> Select[Any]:
    # Columns and not the mapped class: nothing tracks changes of what is only read.
    return (
        select(*_COLUMNS, _USERS.c.username, STRUCTURE)
        .join(_USERS, _USERS.c.id == _APPS.c.owner_id)
        .where(_APPS.c.deleted_at.is_(None))
    )


def _to_app(found: Sequence[Any]) -> App:
    uuid, name, owner_id, generation, created, updated, owner, structure, *remark = found
    return App(uuid, name, Person(owner_id, owner), structure or {}, generation, created, updated, *remark)


REMARK = (
    select(_BLOCKS.c.remark)
    .where(
        or_(
            and_(_BLOCKS.c.type == BLOCKED_APP, _BLOCKS.c.id == _APPS.c.name),
            and_(_BLOCKS.c.type == BLOCKED_USER, _BLOCKS.c.id == cast(_APPS.c.owner_id, Text)),
        )
    )
    .order_by(_BLOCKS.c.type)
    .limit(1)
    .correlate(_APPS)
    .scalar_subquery()
)
_BY_NAME = _apps().add_columns(REMARK).where(_APPS.c.name == bindparam("name"))
_LOCK = select(_APPS.c.uuid).where(_APPS.c.name == bindparam("name")).with_for_update()
_BUMP = (
    update(_APPS)
    .where(_APPS.c.uuid == bindparam("app"))
    .values(generation=_APPS.c.generation + 1, updated=bindparam("now"))
)
_LOCK_GENERATION = (
    select(_APPS.c.generation).where(_APPS.c.uuid == bindparam("app"), _APPS.c.deleted_at.is_(None)).with_for_update()
)
_RECONCILED = (
    update(_APPS)
    .where(_APPS.c.uuid == bindparam("app"), _APPS.c.reconciled_generation < bindparam("reached"))
    .values(reconciled_generation=bindparam("reached"))
)
_SETTINGS = (
    select(*_APP_SETTINGS.c, _USERS.c.username)
    .join(_USERS, _USERS.c.id == _APP_SETTINGS.c.owner_id)
    .where(_APP_SETTINGS.c.app_uuid == bindparam("app"))
    .order_by(_APP_SETTINGS.c.created.desc(), _APP_SETTINGS.c.uuid.desc())
    .limit(1)
)

_ALIVE = _APPS.c.deleted_at.is_(None)
_MAY_VIEW = or_(
    _APPS.c.owner_id == bindparam("viewer"),
    exists().where(
        _GRANTS.c.app_uuid == _APPS.c.uuid,
        _GRANTS.c.user_id == bindparam("viewer"),
        _GRANTS.c.codename == "view",
    ),
)
_ALL = _apps().order_by(_APPS.c.name).limit(bindparam("limit")).offset(bindparam("offset"))
_VISIBLE = _ALL.where(_MAY_VIEW)
_COUNT_ALL = select(func.count()).select_from(_APPS).where(_ALIVE)
_COUNT_VISIBLE = _COUNT_ALL.where(_MAY_VIEW)
