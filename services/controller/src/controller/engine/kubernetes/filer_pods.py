"""Starts filers, gives those that are used more time, and ends those that are in the way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from controller.engine.kubernetes import names
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.facts import Events, label, name_of, uid_of
from controller.engine.kubernetes.filer_state import (
    FilerState,
    deadline_of,
    filer_state,
    is_used_up,
    node_in_use,
    wants_time,
)
from controller.engine.kubernetes.kinds import EVENT, JOB, PERSISTENT_VOLUME_CLAIM, POD
from controller.engine.kubernetes.manifests.filer import render_filer
from shared.clock import Clock, SystemClock
from shared.errors import UnavailableError
from shared.kubernetes.errors import ClusterConflictError, ClusterError, ClusterNotFoundError
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger

_MOST_STARTS: Final = 2
"""Filers that may end while one is waited for: the first may have been ended by somebody else."""
_KEEPS_PER_IDLE: Final = 4
log = get_logger(__name__)


class FilerPods:
    """The filers of all volumes. Each is a Job whose deadline is always `filer_idle` after its last use: the cluster
    ends it, and controllers need not know of each other."""

    def __init__(self, client: Client, cache: Cache, config: KubernetesConfig, *, clock: Clock | None = None) -> None:
        self._client = client
        self._cache = cache
        self._config = config
        self._clock = clock or SystemClock()
        self._starts: dict[tuple[str, str], asyncio.Task[str]] = {}

    async def ready(self, app: str, claim: str) -> str:
        """The name of a pod that has the volume mounted, and will have for a while. One is started if need be; who else
        wants the same waits for the same start.

        Raises:
            UnavailableError: none can be started, for the reason given.
            ClusterError: the cluster does not take it.
        """
        state, job = self._state(app, claim)
        if state.phase == "up" and job is not None and await self._give_time(app, job, is_busy=False):
            return state.pod
        start = self._starts.get((app, claim))
        if start is None:
            start = self._starts[app, claim] = asyncio.create_task(self._start(app, claim), name=f"filer {app}/{claim}")
            start.add_done_callback(lambda done: self._started(app, claim, done))
        return await asyncio.shield(start)

    def keeper(self, app: str, claim: str) -> Callable[[], Awaitable[None]]:
        """What a transfer calls again and again, so that its filer stays as long as it takes."""
        loop = asyncio.get_running_loop()
        pause = self._config.filer_idle.total_seconds() / _KEEPS_PER_IDLE
        due = loop.time() + pause

        async def keep() -> None:
            nonlocal due
            if loop.time() < due:
                return
            due = loop.time() + pause
            _, job = self._state(app, claim)
            if job is not None:
                with suppress(ClusterError):  # the next time will do
                    await self._give_time(app, job, is_busy=True)

        return keep

    async def look(self, app: str, pod: str) -> None:
        """Ask the cluster about a pod that does not answer: what we know may be of a moment ago."""
        entry = self._cache.find(POD, app, pod)
        try:
            self._cache.take_written(await self._client.get(POD, pod, app))
        except ClusterNotFoundError:
            if entry is not None:
                self._cache.take_deleted(POD, app, pod, uid=entry.uid)

    async def sweep(self, app: str) -> None:
        """End the filers whose claims are gone or to go. Asks the cluster nothing when there are none."""
        for job in self._cache.objects(JOB, app):
            claim = label(job, names.VOLUME)
            if label(job, names.TYPE) != names.FILER:
                continue
            entry = self._cache.find(PERSISTENT_VOLUME_CLAIM, app, claim)
            if entry is not None and not entry.is_terminating:
                continue
            try:
                await self._end(app, job)
            except ClusterError as exc:  # it ends later by itself
                log.warning("filer_not_ended", app=app, claim=claim, error=exc.detail)

    async def close(self) -> None:
        """Give up what is being started."""
        starts = list(self._starts.values())
        for start in starts:
            start.cancel()
        await asyncio.gather(*starts, return_exceptions=True)

    async def _start(self, app: str, claim: str) -> str:
        """Start one, or wait for one that is on its way."""
        loop = asyncio.get_running_loop()
        end, starts = loop.time() + self._config.start_deadline.total_seconds(), 0
        while True:
            state, job = self._state(app, claim)
            if state.phase == "up":
                return state.pod
            if job is not None and state.phase in ("spent", "hopeless"):
                await self._end(app, job)
                if state.phase == "hopeless" or starts == _MOST_STARTS:
                    raise self._no_filer(claim, state)
                job = None
            if job is None:
                starts += 1
                await self._create(app, claim)
            if not await self._cache.wait(app, lambda: self._has_news(app, claim), seconds=end - loop.time()):
                raise self._no_filer(claim, self._state(app, claim)[0])

    def _has_news(self, app: str, claim: str) -> bool:
        state, job = self._state(app, claim)
        return job is None or state.phase != "starting"

    def _state(self, app: str, claim: str) -> tuple[FilerState, Manifest | None]:
        entry = self._cache.find(JOB, app, names.filer(claim))
        if entry is None:
            return FilerState("spent"), None
        pods, events = self._cache.objects(POD, app), Events(self._cache.objects(EVENT, app))
        return filer_state(entry.object, pods, events, self._clock.now(), self._config), entry.object

    async def _create(self, app: str, claim: str) -> None:
        """Make its Job, or find the one that another controller has made."""
        node = node_in_use(claim, self._cache.objects(POD, app)) if self._is_of_one_node(app, claim) else None
        try:
            live = await self._client.create(render_filer(app, claim, self._config, node=node))
            log.info("filer_started", app=app, claim=claim)
        except ClusterConflictError:
            try:
                live = await self._client.get(JOB, names.filer(claim), app)
            except ClusterNotFoundError:
                return
        self._cache.take_written(live)

    def _is_of_one_node(self, app: str, claim: str) -> bool:
        entry = self._cache.find(PERSISTENT_VOLUME_CLAIM, app, claim)
        modes = [] if entry is None else (entry.object.get("spec") or {}).get("accessModes") or []
        return modes == ["ReadWriteOnce"]

    async def _give_time(self, app: str, job: Manifest, *, is_busy: bool) -> bool:
        """See that it does not end soon; False when it has gone."""
        now = self._clock.now()
        if not wants_time(job, now, self._config, is_busy=is_busy):
            return is_busy or not is_used_up(job, now, self._config)
        later = {"spec": {"activeDeadlineSeconds": deadline_of(job, now, self._config)}}
        try:
            live = await self._client.patch(JOB, name_of(job), app, merge=later)
        except ClusterNotFoundError:
            self._cache.take_deleted(JOB, app, name_of(job), uid=uid_of(job))
            return False
        self._cache.take_written(live)
        return True

    async def _end(self, app: str, job: Manifest) -> None:
        with suppress(ClusterConflictError):  # another one has its name by now
            await self._client.delete(JOB, name_of(job), app, uid=uid_of(job) or None)
        self._cache.take_deleted(JOB, app, name_of(job), uid=uid_of(job))

    def _started(self, app: str, claim: str, start: asyncio.Task[str]) -> None:
        del self._starts[app, claim]
        if not start.cancelled():
            start.exception()  # told to those who wait, if any still do

    def _no_filer(self, claim: str, state: FilerState) -> UnavailableError:
        why = state.finding.message if state.finding is not None else "it does not start"
        seconds = self._config.start_deadline.total_seconds()
        late = "" if state.phase == "hopeless" else f" (given up after {seconds:g} s)"
        return UnavailableError(f"the files of {claim} cannot be reached, as its filer does not run: {why}{late}")
