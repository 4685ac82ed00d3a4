"""What a use case works with: one transaction, the outbox in it, the clock, the engine and the platform's rules.

The edge (a request, a message, a step of the reconciler) opens the transaction, makes the `Uow` and commits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from controller.domain.audit import Origin
from controller.domain.policy import Policy
from controller.engine.port import Engine
from controller.origin import CURRENT_ORIGIN
from controller.repositories.cipher import Cipher
from shared.clock import Clock
from shared.db import notify
from shared.outbox import Inbox, Outbox

RECONCILE_CHANNEL = "reconcile"
EVENT_SOURCE = "/services/controller"

__all__ = ["EVENT_SOURCE", "RECONCILE_CHANNEL", "Policy", "Uow"]


@dataclass(frozen=True)
class Uow:
    """One unit of work. Services write through it and never commit."""

    session: AsyncSession
    outbox: Outbox
    inbox: Inbox
    clock: Clock
    engine: Engine
    cipher: Cipher
    policy: Policy
    origin: Origin = field(default_factory=CURRENT_ORIGIN.get)

    def now(self) -> datetime:
        """The present, UTC."""
        return self.clock.now()

    async def wake_reconciler(self) -> None:
        """Have the reconciler look at what changed, as soon as this transaction commits."""
        await notify(self.session, RECONCILE_CHANNEL)
