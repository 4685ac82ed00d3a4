"""What a use case works with: one transaction, the outbox in it, the clock, the engine and the platform's rules.

The edge (a request, a message, a step of the reconciler) opens the transaction, makes the `Uow` and commits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from controller.domain.audit import Origin
from controller.domain.policy import Policy
from controller.engine.port import Engine
from controller.origin import CURRENT_ORIGIN
from controller.repositories.apps import KnownApps
from controller.repositories.cipher import Cipher
from shared.clock import Clock
from shared.db import DbSession, notify
from shared.outbox import Inbox, Outbox

RECONCILE_CHANNEL = "reconcile"
EVENT_SOURCE = "/services/controller"

__all__ = ["EVENT_SOURCE", "RECONCILE_CHANNEL", "EverybodyActive", "Policy", "Standing", "Uow"]


class Standing(Protocol):
    """What the billing manager says of the owners of apps."""

    def inactive(self, owner_id: int) -> str | None:
        """Why the owner may not be served; None when they may."""


class EverybodyActive:
    """The standing of owners where no manager is asked."""

    def inactive(self, owner_id: int) -> str | None:  # noqa: ARG002  the protocol's name
        """Everybody may be served."""
        return None


@dataclass(frozen=True)
class Uow:
    """One unit of work. Services write through it and never commit."""

    session: DbSession
    outbox: Outbox
    inbox: Inbox
    clock: Clock
    engine: Engine
    cipher: Cipher
    policy: Policy
    origin: Origin = field(default_factory=CURRENT_ORIGIN.get)
    standing: Standing = field(default_factory=EverybodyActive)
    known_apps: KnownApps = field(default_factory=KnownApps)

    def now(self) -> datetime:
        """The present, UTC."""
        return self.clock.now()

    async def wake_reconciler(self) -> None:
        """Have the reconciler look at what changed, as soon as this transaction commits."""
        await notify(self.session, RECONCILE_CHANNEL)
