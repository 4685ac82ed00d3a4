"""The periodic pass over all known apps."""

from __future__ import annotations

from datetime import timedelta

from prometheus_client import Counter, Gauge

from registry_refresher.apps import KnownApps
from shared.clock import Clock
from shared.logging import get_logger
from shared.metrics import REGISTRY

PASSES = Counter("workflow_registry_refresher_passes", "Passes over all known apps.", registry=REGISTRY)
APPS = Gauge("workflow_registry_refresher_apps", "Apps known at the last pass.", registry=REGISTRY)
log = get_logger(__name__)


class Refresher:
    """Visits the known apps every `interval`."""

    def __init__(self, apps: KnownApps, *, interval: timedelta, clock: Clock) -> None:
        self._apps = apps
        self._interval = interval
        self._clock = clock

    async def run(self) -> None:
        """One pass at once and then one per interval, until cancelled."""
        while True:
            self.make_pass()
            await self._clock.sleep(self._interval)

    def make_pass(self) -> None:
        """Count and log what is known."""
        count = len(self._apps.names)
        APPS.set(count)
        PASSES.inc()
        log.info("refresh_pass", apps=count)
