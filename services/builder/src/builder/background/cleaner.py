"""Looks after all apps now and then: removes what nobody needs, and apps of whose deletion nobody told."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from builder.domain.errors import AppGoneError, ControllerUnavailableError
from builder.git.repository import Repositories
from builder.repositories.products import ProductRepository
from builder.services.logs import BuildLogs
from builder.services.removal import AppRemoval
from builder.services.retention import Retention, is_expected
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

log = get_logger(__name__)

FIRST: Final = timedelta(minutes=1)
GONE_FOR: Final = timedelta(minutes=10)
"""An app is taken for deleted when the controller did not know it twice, so far apart."""
MOST_APPS: Final = 1000
MOST_REFUSALS: Final = 3
"""Apps in a row about which the controller could not be asked, before the rest waits for the next round."""


class Cleaner:
    """One round at a time, each of at most `MOST_APPS` apps; the next one goes on where it ended."""

    def __init__(
        self,
        *,
        database: Database,
        clock: Clock,
        retention: Retention,
        removal: AppRemoval,
        repositories: Repositories,
        logs: BuildLogs,
        interval: timedelta,
    ) -> None:
        self._database = database
        self._clock = clock
        self._retention = retention
        self._removal = removal
        self._repositories = repositories
        self._logs = logs
        self._interval = interval
        self._gone: dict[str, datetime] = {}
        self._last = ""

    async def run(self) -> None:
        """Work until cancelled. What is away is left for the next round."""
        await self._clock.sleep(min(FIRST, self._interval) * random.uniform(0.5, 1))  # noqa: S311 - many builders
        while True:
            try:
                await self.sweep()
            except Exception as exc:
                if not is_expected(exc):
                    raise
                log.warning("sweep_postponed", error=f"{type(exc).__name__}: {exc}")
            await self._clock.sleep(self._interval * random.uniform(0.9, 1.1))  # noqa: S311

    async def sweep(self) -> None:
        """One round."""
        builds = await self._last_builds()
        on_disk = await asyncio.to_thread(lambda: {*self._repositories.apps(), *self._logs.apps()})
        refusals, before = 0, self._last
        for app in self._due(sorted({*builds, *on_disk})):
            try:
                await self._clean(app, builds)
                refusals = 0
            except Exception as exc:
                if not is_expected(exc):
                    raise
                log.warning("app_not_cleaned", app=app, error=f"{type(exc).__name__}: {exc}")
                refusals = refusals + 1 if isinstance(exc, ControllerUnavailableError) else 0
            if refusals >= MOST_REFUSALS:
                self._last = before
                return

    def _due(self, apps: list[str]) -> list[str]:
        self._gone = {app: since for app, since in self._gone.items() if app in set(apps)}
        due = [app for app in apps if app > self._last][:MOST_APPS]
        self._last = due[-1] if len(due) == MOST_APPS else ""
        return due

    async def _clean(self, app: str, builds: Mapping[str, datetime]) -> None:
        try:
            await self._retention.sweep(app, last_build=builds.get(app))
        except AppGoneError:
            since = self._gone.setdefault(app, self._clock.now())
            if self._clock.now() - since >= GONE_FOR:
                await self._removal.remove_forgotten(app, since=since)
                self._gone.pop(app, None)
        else:
            self._gone.pop(app, None)

    async def _last_builds(self) -> dict[str, datetime]:
        async with self._database.session() as session:
            return await ProductRepository(session).apps()
