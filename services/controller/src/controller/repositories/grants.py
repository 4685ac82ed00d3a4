"""SQL of grants: what people may do with apps that are not theirs."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.dialects.postgresql import insert

from controller.domain.apps import App
from controller.schema.accounts import UserRow
from controller.schema.apps import AppPermissionRow, AppRow
from shared.db import DbSession


@dataclass(frozen=True)
class Grant:
    """What one person may do with one app; `permissions` are sorted."""

    app: str
    user_id: int
    username: str
    permissions: tuple[str, ...]


class GrantRepository:
    """Grants by app and person."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def list(self, app: App) -> tuple[Grant, ...]:
        """All grants of an app, by username."""
        query = (
            select(UserRow.id, UserRow.username, AppPermissionRow.codename)
            .join(UserRow, UserRow.id == AppPermissionRow.user_id)
            .where(AppPermissionRow.app_uuid == app.uuid)
            .order_by(UserRow.username, AppPermissionRow.codename)
        )
        people: dict[tuple[int, str], list[str]] = {}
        for user_id, username, codename in await self._session.execute(query):
            people.setdefault((user_id, username), []).append(codename)
        return tuple(Grant(app.name, *person, tuple(codenames)) for person, codenames in people.items())

    async def permissions_of(self, app: App, user_id: int) -> frozenset[str]:
        """What this person was granted."""
        query = select(AppPermissionRow.codename).where(
            AppPermissionRow.app_uuid == app.uuid, AppPermissionRow.user_id == user_id
        )
        return frozenset(await self._session.scalars(query))

    async def add(self, app: App, user_id: int, permissions: Collection[str]) -> None:
        """Grant these, besides what is granted already."""
        rows = [{"app_uuid": app.uuid, "user_id": user_id, "codename": codename} for codename in permissions]
        if rows:
            await self._session.execute(insert(AppPermissionRow).values(rows).on_conflict_do_nothing())

    async def remove(self, app: App, user_id: int) -> None:
        """Take back everything that this person was granted."""
        await self._session.execute(
            delete(AppPermissionRow).where(AppPermissionRow.app_uuid == app.uuid, AppPermissionRow.user_id == user_id)
        )

    async def apps_of(self, user_id: int, permission: str) -> tuple[str, ...]:
        """The names of the apps that this person owns or was granted `permission` of."""
        granted = exists().where(
            AppPermissionRow.app_uuid == AppRow.uuid,
            AppPermissionRow.user_id == user_id,
            AppPermissionRow.codename == permission,
        )
        query = select(AppRow.name).where(AppRow.deleted_at.is_(None), or_(AppRow.owner_id == user_id, granted))
        return tuple((await self._session.scalars(query.order_by(AppRow.name))).all())
