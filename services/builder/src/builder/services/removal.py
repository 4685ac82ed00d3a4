"""Removes what the builder keeps of an app that was deleted."""

from __future__ import annotations

import asyncio
from datetime import datetime

from builder.git.repository import Repositories
from builder.runner.port import Runner
from builder.services.builds import Builds
from builder.services.logs import BuildLogs
from builder.services.records import BuildRecords
from shared.logging import get_logger

log = get_logger(__name__)


class AppRemoval:
    """Repository, records, logs, workspaces and caches."""

    def __init__(
        self, *, builds: Builds, records: BuildRecords, repositories: Repositories, logs: BuildLogs, runner: Runner
    ) -> None:
        self._builds = builds
        self._records = records
        self._repositories = repositories
        self._logs = logs
        self._runner = runner

    async def remove(self, app: str, *, before: datetime) -> None:
        """Remove all that was made before the app was deleted; safe to repeat.

        An event may arrive late, when a new app has the name already and has been built: then its things stay.
        """
        newest = await self._records.page(app=app, before=None, limit=1)
        if newest and newest[0].requested_at > before:
            log.warning("late_removal_skipped", app=app)
            return
        await self._builds.stop_app(app, f"{app} was deleted")
        await asyncio.to_thread(self._repositories.remove, app)
        await self._runner.discard(app, None)
        await self._logs.remove(app)
        await self._records.forget(app)
        log.info("app_removed", app=app)
