"""What the builder does about other services' events."""

from __future__ import annotations

from builder.services.records import BuildRecords
from builder.services.removal import AppRemoval
from builder.services.verdicts import Verdicts
from shared.bus import Bus
from shared.events import (
    AppDeleted,
    Envelope,
    ReleaseCreated,
    ReleaseDeployed,
    ReleaseFailed,
    ReleaseProgress,
    ReleaseRejected,
    UnknownEventError,
)
from shared.logging import get_logger

log = get_logger(__name__)

RELEASES = "builder.releases"
APPS = "builder.apps"
NEWS = (ReleaseCreated, ReleaseDeployed, ReleaseFailed, ReleaseProgress, ReleaseRejected)


class Consumers:
    """Handlers are idempotent: every event may come twice."""

    def __init__(self, *, records: BuildRecords, verdicts: Verdicts, removal: AppRemoval) -> None:
        self._records = records
        self._verdicts = verdicts
        self._removal = removal

    async def subscribe(self, bus: Bus) -> None:
        """Start to receive."""
        await bus.subscribe(consumer=RELEASES, patterns=["release.*"], handler=self.on_release)
        await bus.subscribe(consumer=APPS, patterns=["app.deleted"], handler=self.on_app_deleted)

    async def on_release(self, envelope: Envelope) -> None:
        """Record what became of a build and tell the push that waits for it."""
        try:
            event = envelope.unwrap()
        except UnknownEventError:
            log.info("event_ignored", event_type=envelope.type)  # of a newer controller
            return
        if isinstance(event, NEWS):
            # Also when it was recorded before: the answer to that may have been lost, and the push still waits.
            await self._records.heard(RELEASES, envelope.id, event, at=envelope.time)
            self._verdicts.deliver(event)

    async def on_app_deleted(self, envelope: Envelope) -> None:
        """Remove all that was kept of the app. What is gone already is no error."""
        event = envelope.unwrap()
        if isinstance(event, AppDeleted):
            await self._removal.remove(event.app, before=envelope.time)
