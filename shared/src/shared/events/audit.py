"""The audit trail of the controller as events, for systems that keep it elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar
from uuid import UUID

from shared.events.base import Event


class AuditRecorded(Event):
    """Somebody did something. `before` and `after` hold what changed, with secrets taken out."""

    type: ClassVar[str] = "audit.recorded"
    entry_id: UUID
    app: str | None
    actor: str
    action: str
    target: str
    source: str
    address: str | None
    request_id: str | None
    before: Mapping[str, object] | None
    after: Mapping[str, object] | None

    def subject(self) -> str:
        return f"apps/{self.app}" if self.app is not None else "platform"
