"""Starts the one-offs that people asked for, and writes down what becomes of them.

The rows are what counts: killed at any point, this begins from them again. Starting one again is no harm, as the engine
leaves a one-off whose name it knows as it is; an advisory lock keeps it so when several workers are at it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from controller.background.queue import WorkQueue
from controller.domain.jobs import Job
from controller.domain.spec import JobSpec
from controller.engine.port import Engine
from controller.services.jobs import JOBS_CHANNEL, Jobs
from controller.uow import Uow
from shared.clock import Clock
from shared.db import Database
from shared.errors import SuiteError
from shared.logging import get_logger

LOOK_EVERY: Final = timedelta(seconds=30)
BUSY_ELSEWHERE: Final = timedelta(seconds=1)

log = get_logger(__name__)


class JobKeeper:
    """Keeps the rows of one-offs and the engine in step. `run` does so until cancelled; `keep` once, for one app."""

    def __init__(
        self,
        *,
        database: Database,
        engine: Engine,
        clock: Clock,
        make_uow: Callable[[AsyncSession], Uow],
        parallel: int = 4,
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._make_uow = make_uow
        self._parallel = parallel
        self._queue = WorkQueue(clock)
        self._busy: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled: on new jobs, on what the engine reports, and on all of them every half minute."""
        try:
            async with asyncio.TaskGroup() as group:
                for source in (self._listen, self._watch, self._look):
                    group.create_task(source(), name=f"jobs{source.__name__}")
                for number in range(self._parallel):
                    group.create_task(self._queue.work(self.keep, task="jobs"), name=f"jobs_{number}")
        finally:
            await self._queue.close()

    async def keep(self, app: str) -> None:
        """Start, stop and look at the jobs of one app.

        Raises:
            SuiteError: the engine could not be asked about some of them; come again.
        """
        # One at a time per app: whoever is late must not start again what has ended and been forgotten meanwhile.
        async with self._database.try_lock(f"jobs:{app}") as mine:
            if mine:
                await self._keep(app)
            else:
                self._queue.set_alarm(app, self._clock.now() + BUSY_ELSEWHERE)

    async def _keep(self, app: str) -> None:
        async with self._database.session() as session:
            jobs = await Jobs(self._make_uow(session)).unfinished(app)
        if jobs:
            self._busy.add(app)
        else:
            self._busy.discard(app)
        away: SuiteError | None = None
        for job, spec in jobs:
            try:
                fresh = await self._advance(job, spec)
            except SuiteError as error:
                away = error
                fresh = job.postponed(error) if job.state == "starting" else job
            if fresh != job:
                await self._save(fresh)
        if away is not None:
            raise away

    async def _advance(self, job: Job, spec: JobSpec) -> Job:
        """The job as it is after what is due has been done about it."""
        state = await self._engine.job(job.app, job.name)
        if state is None and job.state == "up":
            return job.lost(now=self._clock.now())
        if state is None and job.stop_requested:
            return job.stopped(now=self._clock.now())
        if state is None:
            try:
                await self._engine.run(spec)
            except SuiteError as error:
                if error.status >= 500:
                    raise
                return job.refused(error, now=self._clock.now())
            log.info("job_started", app=job.app, job=job.name)
        elif job.stop_requested and not state.finished:
            await self._engine.stop_job(job.app, job.name)
        state = await self._engine.job(job.app, job.name)
        return replace(job, state="up", log=()) if state is None else job.seen(state, now=self._clock.now())

    async def _save(self, job: Job) -> None:
        async with self._database.transaction() as session:
            is_wanted = await Jobs(self._make_uow(session)).save(job)
        if not is_wanted and not job.is_finished:
            # The app was destroyed between our look and the start: the engine has cleared it away already.
            await self._engine.stop_job(job.app, job.name)
        if job.is_finished:
            log.info("job_ended", app=job.app, job=job.name, reason=job.reason, exit_code=job.exit_code)

    async def _listen(self) -> None:
        async with self._database.listen(JOBS_CHANNEL) as notifications:
            async for _ in notifications:
                await self._add_all()

    async def _watch(self) -> None:
        async for app in self._engine.watch():
            if app in self._busy:
                self._queue.add(app)

    async def _look(self) -> None:
        while True:
            async with self._database.transaction() as session:
                pruned = await Jobs(self._make_uow(session)).prune()
            if pruned:
                log.info("jobs_pruned", count=pruned)
            await self._add_all()
            await self._clock.sleep(LOOK_EVERY)

    async def _add_all(self) -> None:
        async with self._database.session() as session:
            apps = await Jobs(self._make_uow(session)).busy_apps()
        self._busy.update(apps)
        for app in apps:
            self._queue.add(app)
