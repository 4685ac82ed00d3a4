"""Reads the output of one container, and follows it through broken connections and restarts."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.facts import name_of, uid_of
from controller.engine.kubernetes.instances import Run, container_of, is_over, run_of
from controller.engine.kubernetes.kinds import POD
from controller.engine.kubernetes.log_lines import Line, Position, Splitter
from shared.kubernetes.errors import (
    ClusterError,
    ClusterForbiddenError,
    ClusterInvalidError,
    ClusterNotFoundError,
    unreachable,
)
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger

_SILENCE_SECONDS: Final = 15.0
_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
_END_SECONDS: Final = 1.0
_QUIET_SECONDS: Final = 2.0
_WAIT_SECONDS: Final = 60.0
log = get_logger(__name__)


@dataclass(frozen=True)
class Place:
    """A container of a pod; another pod of the same name has another `uid`."""

    app: str
    pod: str
    uid: str
    container: str


class LogReader:
    """Yields lines a few at a time, as they come."""

    def __init__(self, client: Client, cache: Cache) -> None:
        self._client = client
        self._cache = cache

    async def read(
        self, place: Place, position: Position, *, tail: int = 0, follow: bool = False, previous: bool = False
    ) -> AsyncGenerator[list[Line], None]:
        """What is new since `position` over one connection; of a beginning only the last `tail` lines (0: all).

        Raises:
            ClusterInvalidError: there is no output (yet). ClusterNotFoundError: there is no such pod.
            ClusterError: the connection broke; `position` tells how far it came.
        """
        query = {"container": place.container, "timestamps": "true"}
        query |= {name: "true" for name, is_wanted in (("follow", follow), ("previous", previous)) if is_wanted}
        if position.since:
            query["sinceTime"] = position.since
        elif tail > 0:
            query["tailLines"] = str(tail)
        position.again()
        splitter = Splitter()
        async with self._client.pod_logs(place.app, place.pod, **query) as chunks:
            async for chunk in chunks if follow else _in_time(chunks, place):
                if lines := position.new(splitter.feed(chunk)):
                    yield lines
        if lines := position.new(splitter.flush()):
            yield lines

    async def follow(
        self, place: Place, position: Position, *, tail: int = 0, ended: str = ""
    ) -> AsyncGenerator[list[Line], None]:
        """The same, and all that comes until the container will not run any more, through all its restarts.

        `ended`: the id of a run that has ended and of which everything was read.

        Raises:
            ClusterForbiddenError: we may not read it.
        """
        while (run := await self._next_run(place, ended)) is not None:
            async with aclosing(self._follow_run(place, run, position, tail)) as batches:
                async for lines in batches:
                    yield lines
            ended, tail = run.id, 0

    async def wait(self, app: str, condition: Callable[[], bool]) -> None:
        """Wait until `condition` holds, however long that takes; it is about objects of the app."""
        while not await self._cache.wait(app, condition, seconds=_WAIT_SECONDS):
            pass

    async def _follow_run(
        self, place: Place, run: Run, position: Position, tail: int
    ) -> AsyncGenerator[list[Line], None]:
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE_SECONDS
        while True:
            opened, is_complete = loop.time(), False
            try:
                async with aclosing(self.read(place, position, tail=tail, follow=True)) as batches:
                    async for lines in batches:
                        pause = _FIRST_PAUSE_SECONDS
                        yield lines
                is_complete = True
            except ClusterNotFoundError:
                return
            except ClusterInvalidError:
                is_complete = True  # what has ended is not kept any more
            except ClusterForbiddenError:
                raise
            except ClusterError as exc:
                log.info("log_broken", app=place.app, pod=place.pod, error=exc.words)
            if is_complete and await self._has_ended(place, run):
                return
            if loop.time() - opened > _QUIET_SECONDS:
                tail = 0  # it had said nothing then, so that everything is new
            await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311 - not all at once
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _next_run(self, place: Place, ended: str) -> Run | None:
        """The run after the one that has `ended`, as soon as there is one; None when there will be none."""

        def is_known() -> bool:
            pod = self._pod(place)
            if pod is None:
                return True
            run = run_of(pod, place.container)
            return (run is not None and run.id != ended) or is_over(pod, place.container)

        await self.wait(place.app, is_known)
        pod = self._pod(place)
        run = None if pod is None else run_of(pod, place.container)
        return run if run is not None and run.id != ended else None

    async def _has_ended(self, place: Place, run: Run) -> bool:
        """That run is over; the watch may tell of it a moment after its output has ended."""

        def has_ended() -> bool:
            pod = self._pod(place)
            return pod is None or run_of(pod, place.container) != Run(run.id, is_running=True)

        return await self._cache.wait(place.app, has_ended, seconds=_END_SECONDS)

    def _pod(self, place: Place) -> Manifest | None:
        entry = self._cache.find(POD, place.app, place.pod)
        return entry.object if entry is not None and entry.uid == place.uid else None


def place_of(app: str, pod: Manifest) -> Place:
    """The app's own container of a pod."""
    return Place(app, name_of(pod), uid_of(pod), container_of(pod))


async def _in_time(chunks: AsyncIterator[bytes], place: Place) -> AsyncIterator[bytes]:
    """What is there already has to come at once."""
    while True:
        try:
            async with asyncio.timeout(_SILENCE_SECONDS):
                chunk = await anext(chunks, None)
        except TimeoutError as exc:
            raise unreachable(f"read the output of {place.app}/{place.pod}", exc) from None
        if chunk is None:
            return
        yield chunk
