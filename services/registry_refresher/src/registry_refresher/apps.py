"""The apps that there are, as far as events have told since this process started."""

from __future__ import annotations

from shared.bus import Bus
from shared.events import AppCreated, AppDeleted, Envelope
from shared.logging import get_logger

CONSUMER = "registry_refresher.apps"
log = get_logger(__name__)


class KnownApps:
    """A set of app names. Events of one app arrive in order and may arrive twice; neither needs an inbox here."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    @property
    def names(self) -> frozenset[str]:
        """The apps that are known now."""
        return frozenset(self._names)

    async def subscribe(self, bus: Bus) -> None:
        """Begin to consume from `bus`."""
        # One event at a time: two of one app that overtook each other would leave the wrong answer behind.
        patterns = [AppCreated.type, AppDeleted.type]
        await bus.subscribe(consumer=CONSUMER, patterns=patterns, handler=self.handle, prefetch=1)

    async def handle(self, envelope: Envelope) -> None:
        """Take notice of one app that came or went."""
        event = envelope.unwrap()
        if isinstance(event, AppCreated):
            self._names.add(event.app)
            log.info("app_added", app=event.app, apps=len(self._names))
        elif isinstance(event, AppDeleted):
            self._names.discard(event.app)
            log.info("app_removed", app=event.app, apps=len(self._names))
