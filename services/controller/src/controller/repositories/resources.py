"""SQL of resources. What connects to one and what it was made with is stored as ciphertext."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import Select, delete, func, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.page import Page
from controller.domain.resources import PROVISIONING, Resource, ResourceRequest
from controller.domain.volumes import taken
from controller.repositories.cipher import Cipher
from controller.schema.accounts import UserRow
from controller.schema.base import table_of
from controller.schema.storage import ResourceRow
from shared.db import DbSession, uuid7


class ResourceRepository:
    """Resources by app and name."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def get(self, app: App, name: str) -> Resource:
        """The resource of that name.

        Raises:
            ObjectNotFoundError: there is none.
        """
        found = (await self._session.execute(_resources(app).where(ResourceRow.name == name))).one_or_none()
        if found is None:
            raise ObjectNotFoundError("Resource")
        return self._resource(app, found)

    async def list(self, app: App, *, limit: int, offset: int) -> Page[Resource]:
        """One page of an app's, the newest first."""
        total = await self._session.scalar(select(func.count()).where(ResourceRow.app_uuid == app.uuid))
        rows = await self._session.execute(_resources(app).limit(limit).offset(offset))
        return Page(tuple(self._resource(app, row) for row in rows), total or 0)

    async def uuids(self, app: UUID) -> tuple[UUID, ...]:
        """The keys of all that an app has, be it on its way out."""
        return tuple((await self._session.scalars(select(ResourceRow.uuid).where(ResourceRow.app_uuid == app))).all())

    async def add(self, app: App, request: ResourceRequest, *, owner: Actor, now: datetime) -> Resource:
        """A new resource, about to be provisioned.

        Raises:
            InvalidFieldsError: the app has one of that name.
        """
        uuid = uuid7()
        row = {
            "uuid": uuid, "app_uuid": app.uuid, "owner_id": owner.id, "name": request.name, "plan": request.plan,
            "status": PROVISIONING, "binding": None, "sealed_data": self._cipher.seal({}),
            "sealed_options": self._cipher.seal(dict(request.options)), "created": now, "updated": now,
        }  # fmt: skip
        statement = insert(ResourceRow).values(row).on_conflict_do_nothing(index_elements=["app_uuid", "name"])
        if await self._session.scalar(statement.returning(ResourceRow.uuid)) is None:
            raise taken()
        return Resource(
            uuid=uuid,
            app=app.name,
            owner=owner.username,
            name=request.name,
            plan=request.plan,
            created=now,
            updated=now,
            status=PROVISIONING,
            options=request.options,
        )

    async def save(self, resource: Resource) -> None:
        """Write all of it that can change, `updated` included."""
        columns: dict[str, Any] = {
            "plan": resource.plan,
            "status": resource.status,
            "binding": resource.binding,
            "sealed_data": self._cipher.seal(dict(resource.data)),
            "sealed_options": self._cipher.seal(dict(resource.options)),
            "updated": resource.updated,
        }
        await self._session.execute(update(ResourceRow).where(ResourceRow.uuid == resource.uuid).values(**columns))

    async def delete(self, resource: Resource) -> None:
        """Remove the row."""
        await self._session.execute(delete(ResourceRow).where(ResourceRow.uuid == resource.uuid))

    def _resource(self, app: App, row: Any) -> Resource:
        return Resource(
            uuid=row.uuid,
            app=app.name,
            owner=row.username,
            name=row.name,
            plan=row.plan,
            created=row.created,
            updated=row.updated,
            status=row.status,
            binding=row.binding,
            data=cast("Mapping[str, object]", self._cipher.open(row.sealed_data)),
            options=cast("Mapping[str, object]", self._cipher.open(row.sealed_options)),
        )


def _resources(app: App) -> Select[Any]:
    return (
        select(*table_of(ResourceRow).c, UserRow.username)
        .join(UserRow, UserRow.id == ResourceRow.owner_id)
        .where(ResourceRow.app_uuid == app.uuid)
        .order_by(ResourceRow.created.desc(), ResourceRow.uuid.desc())
    )
