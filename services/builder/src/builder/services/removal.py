"""Removes what the builder keeps of an app that was deleted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from builder.domain.errors import AppGoneError
from builder.git.repository import Repositories
from builder.registry.images import RegistryImages
from builder.runner.port import Runner
from builder.services.builds import Builds
from builder.services.logs import BuildLogs
from builder.services.records import BuildRecords
from builder.services.verdicts import Verdicts
from shared.events import ReleaseRejected
from shared.logging import get_logger

log = get_logger(__name__)


class AppRemoval:
    """Repository, records, logs, workspaces, source, images and caches."""

    def __init__(
        self,
        *,
        builds: Builds,
        verdicts: Verdicts,
        records: BuildRecords,
        repositories: Repositories,
        logs: BuildLogs,
        runner: Runner,
        images: RegistryImages | None,
    ) -> None:
        self._builds = builds
        self._verdicts = verdicts
        self._records = records
        self._repositories = repositories
        self._logs = logs
        self._runner = runner
        self._images = images

    async def remove(self, app: str, *, before: datetime) -> None:
        """Remove all that was made before the app was deleted; safe to repeat.

        An event may arrive late, when a new app has the name already and has been built: then its things stay.

        Raises:
            SuiteError, OSError: something of it may still be there. The records are then, too, so that a sweep of the
                cleaner finds the app again.
        """
        newest = await self._records.page(app=app, before=None, limit=1)
        if newest and newest[0].requested_at > before:
            log.warning("late_removal_skipped", app=app)
            return
        gone = f"{app} was deleted"
        await self._builds.stop_app(app, gone)
        for build_id in self._builds.awaiting_release(app):  # which may never come
            news = ReleaseRejected(app=app, build_id=build_id, code=AppGoneError.code, message=gone)
            self._verdicts.deliver(news)
        await asyncio.to_thread(self._repositories.remove, app)
        await self._logs.remove(app)
        await self._runner.discard(app, None)
        if self._images is not None:
            await self._images.remove_app(app)
        await self._records.forget(app)
        log.info("app_removed", app=app)

    async def remove_forgotten(self, app: str, *, since: datetime) -> None:
        """The same for an app that is missing since then, of whose deletion nobody told.

        Raises:
            SuiteError, OSError: see `remove`.
        """
        changed = await asyncio.to_thread(self._changed_at, app)
        if changed is not None and changed > since:
            log.warning("late_removal_skipped", app=app)
            return
        await self.remove(app, before=since)

    def _changed_at(self, app: str) -> datetime | None:
        try:
            return datetime.fromtimestamp(self._repositories.path(app).stat().st_ctime, UTC)
        except FileNotFoundError:
            return None
