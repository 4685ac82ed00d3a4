"""SQL of the audit trail. It is only ever added to, read, and pruned by age."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain.audit import AuditEntry, Origin
from controller.schema.audit import AuditRow


class AuditRepository:
    """Entries of the audit trail."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, entry: AuditEntry) -> None:
        """One more."""
        origin = entry.origin
        row = {
            "uuid": entry.uuid, "at": entry.at, "app": entry.app, "actor": entry.actor, "action": entry.action,
            "target": entry.target, "source": origin.source, "address": origin.address,
            "request_id": origin.request_id, "before": entry.before, "after": entry.after,
        }  # fmt: skip
        await self._session.execute(insert(AuditRow).values(row))

    async def list(
        self, *, app: str | None, actor: str | None, action: str | None, before: UUID | None, limit: int
    ) -> Sequence[AuditEntry]:
        """Newest first; `before` continues after the last one of an earlier answer."""
        query = select(AuditRow).order_by(AuditRow.uuid.desc()).limit(limit)
        for column, wanted in ((AuditRow.app, app), (AuditRow.actor, actor), (AuditRow.action, action)):
            if wanted is not None:
                query = query.where(column == wanted)
        if before is not None:
            query = query.where(AuditRow.uuid < before)
        return [_entry(row) for row in (await self._session.scalars(query)).all()]

    async def prune(self, *, older_than: datetime) -> None:
        """Forget what is older."""
        await self._session.execute(delete(AuditRow).where(AuditRow.at < older_than))


def _entry(row: AuditRow) -> AuditEntry:
    origin = Origin(row.source, row.address, row.request_id)
    return AuditEntry(row.uuid, row.at, row.app, row.actor, row.action, row.target, origin, row.before, row.after)
