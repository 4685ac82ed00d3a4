"""The output of apps: of one instance as it comes, of all merged in order of time (kubernetes.md 2.8, weakness 44)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing, suppress
from itertools import islice
from typing import Final

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.facts import uid_of
from controller.engine.kubernetes.findings import LogSource
from controller.engine.kubernetes.instances import has_run_before, one_off, origin_of, pod_of, run_of, speaking
from controller.engine.kubernetes.kinds import POD
from controller.engine.kubernetes.log_lines import Line, Newest, Position, as_said, as_shown, now_line
from controller.engine.kubernetes.log_reader import LogReader, Place, place_of
from shared.errors import NotFoundError
from shared.kubernetes.errors import ClusterError, ClusterInvalidError, ClusterNotFoundError
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger
from shared.tasks import TaskOwner

TAIL_SECONDS: Final = 5.0
"""How long `Logs.tail` may take."""
READS_AT_A_TIME: Final = 16
"""Instances of all apps whose kept output is read at the same time when that of an app is merged."""
MOST_FOLLOWED: Final = 100
"""Instances that one reader follows at the same time; others take the places of those that end."""
_PLATFORM: Final = b"controller"
_LINES_AT_A_TIME: Final = 500
_QUEUE: Final = 32
log = get_logger(__name__)


class Logs:
    """Reads from the API server, which keeps what the nodes keep: the latest file of each container."""

    def __init__(self, client: Client, cache: Cache, *, most_followed: int = MOST_FOLLOWED) -> None:
        self._cache = cache
        self._reader = LogReader(client, cache)
        self._reads = asyncio.Semaphore(READS_AT_A_TIME)
        self._most_followed = most_followed

    async def tail(self, app: str, source: LogSource, *, lines: int) -> tuple[str, ...]:
        """The last lines of a container, of the run before when this one is silent; () when they cannot be had."""
        place = Place(app, source.pod, "", source.container)
        try:
            async with asyncio.timeout(TAIL_SECONDS):
                kept = await self._last(place, lines, previous=source.previous)
                if not kept and not source.previous and self._has_run_before(place):
                    kept = await self._last(place, lines, previous=True)
        except (ClusterError, TimeoutError) as exc:
            log.info("no_last_lines", app=app, pod=source.pod, error=getattr(exc, "words", "it took too long"))
            return ()
        return tuple(line.text.decode(errors="replace").removesuffix("\r") for line in kept)

    async def stream(self, app: str, *, instance: str | None, lines: int, follow: bool) -> AsyncGenerator[bytes, None]:
        """See `Engine.logs`. A one-off goes by the name of its Job.

        Raises:
            NotFoundError: nothing of such an instance is kept. ClusterError: its output cannot be read.
        """
        pieces = self._merged(app, lines, follow) if instance is None else self._one(app, instance, lines, follow)
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece

    async def _one(self, app: str, instance: str, lines: int, follow: bool) -> AsyncGenerator[bytes, None]:
        pod = pod_of(self._cache, app, instance)
        if pod is None and one_off(self._cache, app, instance) is None:
            raise _unknown(instance)
        if pod is None and follow:
            await self._reader.wait(app, lambda: self._is_settled(app, instance))
            pod = pod_of(self._cache, app, instance)
        if pod is None:
            return
        place, position = place_of(app, pod), Position()
        batches = self._reader.follow(place, position, tail=lines) if follow else self._kept(place, position, lines)
        async with aclosing(batches):
            try:
                async for batch in batches:
                    yield as_said(batch)
            except ClusterNotFoundError:
                raise _unknown(instance) from None

    def _is_settled(self, app: str, instance: str) -> bool:
        """A one-off has a pod, or will not have one any more."""
        job = one_off(self._cache, app, instance)
        ends = (job or {}).get("status", {}).get("conditions") or ()
        is_over = any(one.get("type") in ("Failed", "Complete") and one.get("status") == "True" for one in ends)
        return job is None or is_over or pod_of(self._cache, app, instance) is not None

    async def _kept(self, place: Place, position: Position, lines: int) -> AsyncGenerator[list[Line], None]:
        """What is kept of a container; when it was restarted and has said nothing since, of the run before."""
        for previous in (False, True) if self._has_run_before(place) else (False,):
            has_some = False
            with suppress(ClusterInvalidError):  # it has not run yet, or not before
                async with aclosing(self._reader.read(place, position, tail=lines, previous=previous)) as batches:
                    async for batch in batches:
                        has_some = True
                        yield batch
            if has_some:
                return

    def _has_run_before(self, place: Place) -> bool:
        entry = self._cache.find(POD, place.app, place.pod)
        return entry is not None and has_run_before(entry.object, place.container)

    async def _last(self, place: Place, lines: int, *, previous: bool) -> list[Line]:
        kept: deque[Line] = deque(maxlen=max(lines, 0))
        try:
            async with aclosing(self._reader.read(place, Position(), tail=lines, previous=previous)) as batches:
                async for batch in batches:
                    kept.extend(batch)
        except (ClusterInvalidError, ClusterNotFoundError):
            return []
        return list(kept)

    async def _merged(self, app: str, lines: int, follow: bool) -> AsyncGenerator[bytes, None]:
        old, starts = await self._collect(app, lines, is_all=not follow)
        name = app.encode()
        if old.dropped:
            note = now_line(f"({old.dropped} older lines are left out: that is more than can be put in order)")
            yield as_shown(name, _PLATFORM, note)
        ordered = old.take()
        while part := b"".join(as_shown(name, *one) for one in islice(ordered, _LINES_AT_A_TIME)):
            yield part
        if not follow:
            return
        crowd = _Crowd(app, self._reader, self._cache, starts, most=self._most_followed)
        async with TaskOwner() as tasks:
            tasks.start(f"logs-{app}", lambda: crowd.run(tasks))
            while (batch := await crowd.queue.get()) is not None:
                speaker, fresh = batch
                yield b"".join(as_shown(name, speaker, line) for line in fresh)

    async def _collect(self, app: str, lines: int, *, is_all: bool) -> tuple[Newest, dict[str, _Start]]:
        """The newest lines of all instances, and how far each was read."""
        pods, newest = tuple(speaking(self._cache, app)), Newest(lines)
        starts = {uid_of(pod): _start_of(app, pod) for pod in pods}
        errors: list[ClusterError] = []

        async def read(pod: Manifest) -> None:
            start = starts[uid_of(pod)]
            speaker = origin_of(pod).encode()
            place = place_of(app, pod)
            batches = self._kept(place, start.position, lines) if is_all else self._now(place, start.position, lines)
            try:
                async with self._reads, aclosing(batches):
                    async for batch in batches:
                        newest.add(speaker, batch)
            except ClusterNotFoundError:
                return
            except ClusterError as exc:
                errors.append(exc)
                start.ended, start.tail = "", lines
                newest.add(speaker, [_unreadable(exc)])

        async with asyncio.TaskGroup() as group:
            for pod in pods:
                group.create_task(read(pod))
        if pods and len(errors) == len(pods) and is_all:
            raise errors[0]
        return newest, starts

    async def _now(self, place: Place, position: Position, lines: int) -> AsyncGenerator[list[Line], None]:
        try:
            async with aclosing(self._reader.read(place, position, tail=lines)) as batches:
                async for batch in batches:
                    yield batch
        except ClusterInvalidError:
            return


class _Start:
    """Where to go on with a pod: `ended` is the run that was over when its output was read; `tail` as for
    `LogReader.read`."""

    def __init__(self, ended: str = "") -> None:
        self.position = Position()
        self.ended = ended
        self.tail = 0


class _Crowd:
    """Follows all instances of an app, those included that come. `queue` has what they say, and None in the end.

    Who reads slowly holds back the reading: nothing is lost, and little is kept here.
    """

    def __init__(self, app: str, reader: LogReader, cache: Cache, starts: dict[str, _Start], *, most: int) -> None:
        self.queue: asyncio.Queue[tuple[bytes, list[Line]] | None] = asyncio.Queue(_QUEUE)
        self._app = app
        self._reader = reader
        self._cache = cache
        self._starts = starts
        self._places = asyncio.Semaphore(most)
        self._most = most
        self._followed: dict[str, asyncio.Task[None]] = {}
        self._was_there = False
        self._is_told = False

    async def run(self, tasks: TaskOwner) -> None:
        """Until the app is gone."""
        while not self._is_gone():
            self._join(tasks)
            if len(self._followed) > self._most and not self._is_told:
                self._is_told = True
                note = now_line(f"(more than {self._most} processes run: the output of some is not shown now)")
                await self.queue.put((_PLATFORM, [note]))
            await self._reader.wait(self._app, lambda: self._is_gone() or any(self._strangers()))
        await asyncio.gather(*self._followed.values(), return_exceptions=True)
        await self.queue.put(None)

    def _is_gone(self) -> bool:
        """It was there, and is not any more; one that has no release yet is still to come."""
        is_there = self._app in self._cache.apps()
        self._was_there = self._was_there or is_there
        return self._was_there and not is_there

    def _strangers(self) -> Iterable[Manifest]:
        return (pod for pod in speaking(self._cache, self._app) if uid_of(pod) not in self._followed)

    def _join(self, tasks: TaskOwner) -> None:
        known = {uid_of(pod) for pod in speaking(self._cache, self._app)}
        self._followed = {uid: task for uid, task in self._followed.items() if uid in known or not task.done()}
        for pod in tuple(self._strangers()):
            self._followed[uid_of(pod)] = self._follow(tasks, pod)

    def _follow(self, tasks: TaskOwner, pod: Manifest) -> asyncio.Task[None]:
        start = self._starts.pop(uid_of(pod), None) or _Start()
        speaker, place = origin_of(pod).encode(), place_of(self._app, pod)

        async def follow() -> None:
            async with self._places:
                try:
                    batches = self._reader.follow(place, start.position, tail=start.tail, ended=start.ended)
                    async with aclosing(batches):
                        async for batch in batches:
                            await self.queue.put((speaker, batch))
                except ClusterError as exc:
                    await self.queue.put((speaker, [_unreadable(exc)]))

        return tasks.start(f"logs-{place.pod}", follow)


def _start_of(app: str, pod: Manifest) -> _Start:
    run = run_of(pod, place_of(app, pod).container)
    return _Start("" if run is None or run.is_running else run.id)


def _unreadable(exc: ClusterError) -> Line:
    return now_line(f"(its output cannot be read: {exc.words})")


def _unknown(instance: str) -> NotFoundError:
    return NotFoundError(f"no output of {instance} is kept; see `drycc ps` for what runs")
