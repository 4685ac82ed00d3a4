"""SQL of blocks, and of what a block does to apps."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ColumnElement, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.blocks import BlockKind, Target
from controller.schema.apps import AppRow, ProcessRow
from controller.schema.audit import BLOCKED_APP, BLOCKED_USER, BlockRow
from shared.db import DbSession, uuid7

_TYPES = {BlockKind.APPS: BLOCKED_APP, BlockKind.USERS: BLOCKED_USER}


class BlockRepository:
    """Blocks of apps and users."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def add(self, target: Target, *, remark: str, now: datetime) -> bool:
        """Block it; False when it is blocked already, whose remark stays."""
        row = {"uuid": uuid7(), "id": target.id, "type": _TYPES[target.kind], "remark": remark}
        statement = insert(BlockRow).values(**row, created=now, updated=now).on_conflict_do_nothing()
        return (await self._session.execute(statement.returning(BlockRow.uuid))).scalar_one_or_none() is not None

    async def remove(self, target: Target) -> bool:
        """Lift the block; whether there was one."""
        gone = delete(BlockRow).where(BlockRow.id == target.id, BlockRow.type == _TYPES[target.kind])
        return (await self._session.execute(gone.returning(BlockRow.uuid))).scalar_one_or_none() is not None

    async def scale_to_zero(self, target: Target, *, now: datetime) -> list[str]:
        """Want no instance of whatever the target has; the names of the apps that wanted some."""
        apps = await self.touch(target, now=now)
        stopped = (
            update(ProcessRow)
            .where(ProcessRow.app_uuid.in_(list(apps)), ProcessRow.replicas > 0)
            .values(replicas=0, updated=now)
            .returning(ProcessRow.app_uuid)
        )
        changed = set((await self._session.scalars(stopped)).all())
        return [name for uuid, name in apps.items() if uuid in changed]

    async def touch(self, target: Target, *, now: datetime) -> dict[UUID, str]:
        """Lock the apps that the target has and have the reconciler see them anew; their names."""
        # In order of their names, as two blocks at a time must not wait for each other.
        concerned = select(AppRow.uuid, AppRow.name).where(_is_of(target), AppRow.deleted_at.is_(None))
        found = (await self._session.execute(concerned.order_by(AppRow.name).with_for_update())).all()
        apps = {app.uuid: app.name for app in found}
        bump = update(AppRow).where(AppRow.uuid.in_(list(apps)))
        await self._session.execute(bump.values(generation=AppRow.generation + 1, updated=now))
        return apps


def _is_of(target: Target) -> ColumnElement[bool]:
    return AppRow.name == target.id if target.kind is BlockKind.APPS else AppRow.owner_id == int(target.id)
