"""SQL of the audit trail. It is only ever added to, read, and pruned by age."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, select

from controller.domain.audit import AuditEntry, AuditFilter, Origin
from controller.schema.audit import AuditRow
from controller.schema.base import table_of
from shared.db import DbSession
from shared.db.deferred import defer_rows


class AuditRepository:
    """Entries of the audit trail."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    def add(self, entry: AuditEntry) -> None:
        """One more, stored when the transaction commits."""
        origin = entry.origin
        row = {
            "uuid": entry.uuid, "at": entry.at, "app": entry.app, "actor": entry.actor, "action": entry.action,
            "target": entry.target, "source": origin.source, "address": origin.address,
            "request_id": origin.request_id, "before": entry.before, "after": entry.after,
        }  # fmt: skip
        defer_rows(self._session, table_of(AuditRow), [row])

    async def list(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        """Those that are wanted, newest first."""
        query = select(table_of(AuditRow)).order_by(AuditRow.uuid.desc()).limit(wanted.limit)
        columns = ((AuditRow.app, wanted.app), (AuditRow.actor, wanted.actor), (AuditRow.action, wanted.action))
        for column, value in columns:
            if value is not None:
                query = query.where(column == value)
        if wanted.since is not None:
            query = query.where(AuditRow.at >= wanted.since)
        if wanted.before is not None:
            query = query.where(AuditRow.uuid < wanted.before)
        return [_entry(row) for row in await self._session.execute(query)]

    async def prune(self, *, older_than: datetime, most: int) -> int:
        """Forget what is older, so many entries at once; how many they were."""
        due = select(AuditRow.uuid).where(AuditRow.at < older_than).order_by(AuditRow.at).limit(most)
        gone = delete(AuditRow).where(AuditRow.uuid.in_(due)).returning(AuditRow.uuid)
        return len((await self._session.scalars(gone)).all())


def _entry(row: Any) -> AuditEntry:
    origin = Origin(row.source, row.address, row.request_id)
    return AuditEntry(row.uuid, row.at, row.app, row.actor, row.action, row.target, origin, row.before, row.after)
