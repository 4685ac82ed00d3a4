"""The reconciler: makes the engine do what the rows say, and moves rollouts by what the engine answers.

One pass at a time per app, in whatever process: an advisory lock sees to that. It holds nothing in memory that matters;
killed at any point, the next pass begins from the rows again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from controller.background.queue import WorkQueue
from controller.background.steps import Step, Steps, failing, refusal
from controller.domain.apps import App
from controller.domain.policy import Policy
from controller.domain.render import render
from controller.domain.spec import AppSpec
from controller.engine.port import Engine, EngineAwayError
from controller.services.desired import Deletion, Desired, Snapshot
from controller.services.rollouts import Rollouts
from controller.uow import RECONCILE_CHANNEL, Uow
from shared.clock import Clock
from shared.db import Database
from shared.errors import SuiteError
from shared.logging import get_logger

RESYNC_EVERY: Final = timedelta(seconds=60)
BUSY_ELSEWHERE: Final = timedelta(seconds=1)
AWAY_GRACE: Final = timedelta(seconds=30)
"""How long a rollout goes on after its deadline while nobody can see how it fares, each time."""
MOST_AWAY: Final = timedelta(hours=1)
"""A rollout that has begun so long ago fails although nobody can see how it fares."""
MOST_STEPS: Final = 100

log = get_logger(__name__)


class Reconciler:
    """Converges every app. `run` does so until cancelled; `reconcile` makes one pass over one app.

    Several may run, in one process or in many. `parallel` bounds the apps that one of them works on at once.
    `release` gives back what a deleted app has outside of the engine, by the app's key.
    """

    def __init__(
        self,
        *,
        database: Database,
        engine: Engine,
        clock: Clock,
        make_uow: Callable[[AsyncSession], Uow],
        policy: Policy,
        release: Callable[[UUID], Awaitable[None]] | None = None,
        parallel: int = 8,
    ) -> None:
        self._database = database
        self._engine = engine
        self._clock = clock
        self._make_uow = make_uow
        self._policy = policy
        self._release = release
        self._parallel = parallel
        self._queue = WorkQueue(clock)
        self._steps = Steps(engine, policy)
        self._told: dict[str, int] = {}
        self._unseen: set[str] = set()
        self._taken_over: set[str] = set()

    async def run(self) -> None:
        """Work until cancelled: on notifications, on what the engine reports, on deadlines, and on all every minute.

        Rollouts that others have begun get their time anew where it is over when they are first seen: perhaps no worker
        was there meanwhile.
        """
        try:
            async with self._database.session() as session:
                self._taken_over.update(await Desired(self._make_uow(session)).under_way())
            async with asyncio.TaskGroup() as group:
                for source in (self._listen, self._watch, self._resync):
                    group.create_task(source(), name=f"reconcile{source.__name__}")
                for number in range(self._parallel):
                    group.create_task(self._queue.work(self.reconcile, task="reconcile"), name=f"reconcile_{number}")
        finally:
            await self._queue.close()

    async def reconcile(self, name: str) -> None:
        """Tell the engine what the app should be and move its rollout as far as it can be moved now."""
        async with self._database.try_lock(f"app:{name}") as mine:
            if not mine:
                self._queue.set_alarm(name, self._clock.now() + BUSY_ELSEWHERE)
                return
            for _ in range(MOST_STEPS):
                async with self._database.session() as session:
                    found = await Desired(self._make_uow(session)).read(name)
                if isinstance(found, Deletion):
                    await self._delete(found)
                if not isinstance(found, Snapshot):
                    self._forget(name)
                    return
                if not await self._pass(found):
                    return
            self._queue.add(name)

    async def _pass(self, snapshot: Snapshot) -> bool:
        """Apply, look, make one step; whether to come again at once."""
        spec = render(snapshot.state, self._policy)
        step = await self._next_step(snapshot, spec)
        if step is None:
            await self._mark(snapshot)
            self._queue.set_alarm(snapshot.app.name, snapshot.rollout.deadline_at if snapshot.rollout else None)
            return False
        async with self._database.transaction() as session:
            uow = self._make_uow(session)
            desired = Desired(uow)
            if await desired.lock_same(snapshot):
                await step(Rollouts(uow), snapshot.state)
                if not self._was_told(snapshot.app):
                    await desired.mark_reconciled(snapshot.app)
        self._told[snapshot.app.name] = snapshot.app.generation
        return True

    async def _next_step(self, snapshot: Snapshot, spec: AppSpec) -> Step | None:
        now = self._clock.now()
        try:
            await self._engine.apply(spec)
            return self._resumed(snapshot, now=now) or await self._steps.next(snapshot, spec, now=now)
        except SuiteError as error:
            if isinstance(error, EngineAwayError):
                self._unseen.add(spec.app)
            # What the engine refuses, or cannot do until the deadline, ends the rollout; all else is tried again.
            rollout, bundle = snapshot.rollout, snapshot.bundle
            if rollout is None or bundle is None or not (error.status < 500 or _expired(rollout.deadline_at, now)):
                raise
            if isinstance(error, EngineAwayError) and now - rollout.created < MOST_AWAY:
                return lambda rollouts, _: rollouts.postpone(rollout, bundle, until=now + AWAY_GRACE)
            return failing(rollout, bundle, refusal(error, self._steps.refused_ptype(rollout, spec, error)))

    def _resumed(self, snapshot: Snapshot, *, now: datetime) -> Step | None:
        """What nobody could see does not count: a rollout that can be seen again gets its time anew."""
        rollout, bundle = snapshot.rollout, snapshot.bundle
        name = snapshot.app.name
        was_unseen, is_taken_over = name in self._unseen, name in self._taken_over
        self._unseen.discard(name)
        self._taken_over.discard(name)
        if rollout is None or bundle is None or rollout.deadline_at is None:
            return None
        if not was_unseen and not (is_taken_over and _expired(rollout.deadline_at, now)):
            return None
        return lambda rollouts, _: rollouts.resume(rollout, bundle)

    async def _mark(self, snapshot: Snapshot) -> None:
        app = snapshot.app
        if self._was_told(app):
            return
        async with self._database.transaction() as session:
            await Desired(self._make_uow(session)).mark_reconciled(app)
        self._told[app.name] = app.generation

    def _was_told(self, app: App) -> bool:
        return self._told.get(app.name) == app.generation

    async def _delete(self, deletion: Deletion) -> None:
        await self._engine.remove(deletion.name)
        if self._release is not None:
            await self._release(deletion.uuid)
        async with self._database.transaction() as session:
            await Desired(self._make_uow(session)).finish(deletion)

    def _forget(self, name: str) -> None:
        self._told.pop(name, None)
        self._unseen.discard(name)
        self._taken_over.discard(name)
        self._queue.set_alarm(name, None)

    async def _listen(self) -> None:
        async with self._database.listen(RECONCILE_CHANNEL) as notifications:
            async for _ in notifications:
                await self._add(unreconciled=True)

    async def _watch(self) -> None:
        async for name in self._engine.watch():
            self._queue.add(name)

    async def _resync(self) -> None:
        while True:
            await self._add(unreconciled=False)
            await self._clock.sleep(RESYNC_EVERY)

    async def _add(self, *, unreconciled: bool) -> None:
        async with self._database.session() as session:
            names = await Desired(self._make_uow(session)).names(unreconciled=unreconciled)
        for name in names:
            self._queue.add(name)


def _expired(deadline: datetime | None, now: datetime) -> bool:
    return deadline is not None and now >= deadline
