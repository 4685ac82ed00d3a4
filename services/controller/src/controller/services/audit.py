"""Use cases of the audit trail: every change of an app leaves an entry, in the transaction of the change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Protocol

from controller.domain.audit import AuditEntry, AuditFilter, Origin
from controller.repositories.audit import AuditRepository
from shared.db import DbSession, uuid7
from shared.events import AuditRecorded
from shared.logging import current_request_id
from shared.outbox import Outbox


class Recording(Protocol):
    """What of a unit of work the audit trail needs."""

    @property
    def session(self) -> DbSession: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def origin(self) -> Origin: ...
    def now(self) -> datetime: ...


class AuditTrail:
    """The audit trail, in the transaction of `uow`."""

    def __init__(self, uow: Recording) -> None:
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
        if origin.request_id is None:  # messages bind theirs to the log only
            origin = replace(origin, request_id=current_request_id())
        entry = AuditEntry(uuid7(), self._uow.now(), app, actor, action, target, origin, before, after)
        self._rows.add(entry)
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

    async def list(self, wanted: AuditFilter) -> Sequence[AuditEntry]:
        """The entries that are wanted, newest first."""
        return await self._rows.list(wanted)
