"""SQL of volumes."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.page import Page
from controller.domain.volumes import Volume, VolumeRequest, taken
from controller.repositories.cipher import Cipher
from controller.schema.accounts import UserRow
from controller.schema.base import table_of
from controller.schema.storage import VolumeRow
from shared.db import DbSession, uuid7


class VolumeRepository:
    """Volumes by app and name."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def get(self, app: App, name: str) -> Volume:
        """The volume of that name.

        Raises:
            ObjectNotFoundError: there is none.
        """
        found = (await self._session.execute(_volumes(app).where(VolumeRow.name == name))).one_or_none()
        if found is None:
            raise ObjectNotFoundError("Volume")
        return self._volume(app, found)

    async def list(self, app: App, *, limit: int, offset: int) -> Page[Volume]:
        """One page of an app's, the newest first."""
        total = await self._session.scalar(select(func.count()).where(VolumeRow.app_uuid == app.uuid))
        rows = await self._session.execute(_volumes(app).limit(limit).offset(offset))
        return Page(tuple(self._volume(app, row) for row in rows), total or 0)

    async def list_all(self, app: App) -> tuple[Volume, ...]:
        """All of an app's, the newest first."""
        return tuple(self._volume(app, row) for row in await self._session.execute(_volumes(app)))

    async def add(self, app: App, request: VolumeRequest, *, owner: Actor, now: datetime) -> Volume:
        """A new volume, mounted nowhere.

        Raises:
            InvalidFieldsError: the app has one of that name.
        """
        uuid = uuid7()
        row = {
            "uuid": uuid, "app_uuid": app.uuid, "owner_id": owner.id, "name": request.name, "type": request.type,
            "size": request.size, "path": {}, "sealed_parameters": self._cipher.seal(dict(request.parameters)),
            "created": now, "updated": now,
        }  # fmt: skip
        statement = insert(VolumeRow).values(row).on_conflict_do_nothing(index_elements=["app_uuid", "name"])
        if await self._session.scalar(statement.returning(VolumeRow.uuid)) is None:
            raise taken()
        facts = {name: getattr(request, name) for name in ("name", "type", "size", "parameters")}
        return Volume(uuid=uuid, app=app.name, owner=owner.username, path={}, created=now, updated=now, **facts)

    async def resize(self, volume: Volume, size: str, *, now: datetime) -> None:
        """Write another size."""
        await self._update(volume, size=size, updated=now)

    async def remount(self, volume: Volume, path: Mapping[str, str], *, now: datetime) -> None:
        """Write where it is mounted."""
        await self._update(volume, path=dict(path), updated=now)

    async def delete(self, volume: Volume) -> None:
        """Remove the row."""
        await self._session.execute(delete(VolumeRow).where(VolumeRow.uuid == volume.uuid))

    async def _update(self, volume: Volume, **columns: Any) -> None:
        await self._session.execute(update(VolumeRow).where(VolumeRow.uuid == volume.uuid).values(**columns))

    def _volume(self, app: App, row: Any) -> Volume:
        return Volume(
            uuid=row.uuid,
            app=app.name,
            owner=row.username,
            name=row.name,
            type=row.type,
            size=row.size,
            path=row.path,
            created=row.created,
            updated=row.updated,
            parameters=cast("Mapping[str, object]", self._cipher.open(row.sealed_parameters)),
        )


def _volumes(app: App) -> Select[Any]:
    return (
        select(*table_of(VolumeRow).c, UserRow.username)
        .join(UserRow, UserRow.id == VolumeRow.owner_id)
        .where(VolumeRow.app_uuid == app.uuid)
        .order_by(VolumeRow.created.desc(), VolumeRow.uuid.desc())
    )
