"""The consumer of `release.created`: every created release, v1 and configuration releases included, has its hooks."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncSession

from hooks.domain.delivery import ReleaseFacts
from hooks.schema import inbox
from hooks.services.deliveries import DeliveryService
from shared.bus import Bus
from shared.db import Database
from shared.events import Envelope, ReleaseCreated
from shared.logging import get_logger
from shared.outbox import Inbox

CONSUMER = "hooks.releases"
log = get_logger(__name__)


class ReleaseConsumer:
    """Turns an event into stored deliveries, in one transaction with its inbox row: twice makes no difference."""

    def __init__(self, database: Database, make_service: Callable[[AsyncSession], DeliveryService]) -> None:
        self._database = database
        self._make_service = make_service

    async def subscribe(self, bus: Bus) -> None:
        """Begin to consume from `bus`."""
        await bus.subscribe(consumer=CONSUMER, patterns=[ReleaseCreated.type], handler=self.handle)

    async def handle(self, envelope: Envelope) -> None:
        """Schedule the deliveries of one release."""
        event = envelope.unwrap()
        if not isinstance(event, ReleaseCreated):
            return
        async with self._database.transaction() as session:
            if not await Inbox(session, inbox).first_time(CONSUMER, envelope.id):
                log.debug("event_seen_before", event_id=envelope.id)
                return
            await self._make_service(session).schedule(_facts_of(event), event_id=envelope.id)


def _facts_of(event: ReleaseCreated) -> ReleaseFacts:
    return ReleaseFacts(
        app=event.app, version=event.version, summary=event.summary, sha=event.sha or "", user=event.actor
    )
