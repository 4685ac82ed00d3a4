"""Use cases of the audit trail: every change of an app leaves an entry, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from controller.domain.audit import AuditEntry
from controller.repositories.audit import AuditRepository
from controller.uow import Uow
from shared.db import uuid7
from shared.events import AuditRecorded


class AuditTrail:
    """The audit trail, in the transaction of `uow`."""

    def __init__(self, uow: Uow) -> None:
        self._uow = uow
        self._rows = AuditRepository(uow.session)

    async def record(
        self,
        action: str,
        *,
        actor: str,
        app: str | None = None,
        target: str = "",
        before: Mapping[str, object] | None = None,
        after: Mapping[str, object] | None = None,
    ) -> None:
        """Note that `actor` did this. The caller takes the secrets out of `before` and `after`."""
        origin = self._uow.origin
        entry = AuditEntry(uuid7(), self._uow.now(), app, actor, action, target, origin, before, after)
        await self._rows.add(entry)
        await self._uow.outbox.add(
            AuditRecorded(
                entry_id=entry.uuid,
                app=app,
                actor=actor,
                action=action,
                target=target,
                source=origin.source,
                address=origin.address,
                request_id=origin.request_id,
                before=before,
                after=after,
            )
        )

    async def list(
        self,
        *,
        app: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        before: UUID | None = None,
        limit: int = 100,
    ) -> Sequence[AuditEntry]:
        """Entries, newest first, of one app or of all."""
        return await self._rows.list(app=app, actor=actor, action=action, before=before, limit=limit)
