"""A queue of names in which each is worked on by one worker at a time, with an alarm for each name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from controller.domain.rollouts import pause_before_retry
from controller.engine.port import StillThereError
from shared.clock import Clock
from shared.errors import SuiteError
from shared.logging import get_logger

PASS_SECONDS: Final = 120.0
STILL_THERE_PAUSE: Final = timedelta(seconds=5)
log = get_logger(__name__)


class WorkQueue:
    """Names to look at. A name that is added twice comes once; one that is worked on comes again when that is done."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: asyncio.Queue[str] = asyncio.Queue()
        self._queued: set[str] = set()
        self._working: set[str] = set()
        self._again: set[str] = set()
        self._alarms: dict[str, tuple[datetime, asyncio.Task[None]]] = {}
        self._failures: dict[str, int] = {}

    async def work(self, handle: Callable[[str], Awaitable[None]], *, task: str) -> None:
        """Be one worker until cancelled: `handle` one name after the other, each within `PASS_SECONDS`.

        What fails comes again after a growing pause. `task` is what the log calls it.
        """
        while True:
            name = await self.take()
            try:
                async with asyncio.timeout(PASS_SECONDS):
                    await handle(name)
                self._failures.pop(name, None)
            except Exception as error:
                self._try_later(name, error, task)
            finally:
                self.done(name)

    def _try_later(self, name: str, error: Exception, task: str) -> None:
        if isinstance(error, StillThereError):  # nothing has failed: it takes its time
            self.set_alarm(name, self._clock.now() + STILL_THERE_PAUSE)
            log.info("work_waits", task=task, app=name, detail=error.detail)
            return
        attempt = self._failures[name] = self._failures.get(name, 0) + 1
        pause = pause_before_retry(attempt)
        self.set_alarm(name, self._clock.now() + pause)
        facts = {"task": task, "app": name, "attempt": attempt, "again_in_seconds": pause.total_seconds()}
        if isinstance(error, SuiteError):
            log.warning("work_postponed", code=error.code, detail=error.detail, **facts)
        else:
            log.error("work_failed", exc_info=error, **facts)

    def add(self, name: str) -> None:
        """Have a worker look at `name`."""
        if name in self._working:
            self._again.add(name)
        elif name not in self._queued:
            self._queued.add(name)
            self._waiting.put_nowait(name)

    async def take(self) -> str:
        """The next name, as soon as there is one. The worker says `done` afterwards."""
        name = await self._waiting.get()
        self._queued.discard(name)
        self._working.add(name)
        return name

    def done(self, name: str) -> None:
        """The work on `name` is over, well or not."""
        self._working.discard(name)
        if name in self._again:
            self._again.discard(name)
            self.add(name)

    def set_alarm(self, name: str, when: datetime | None) -> None:
        """Add `name` at that time instead of the one that was set before; None: not at all."""
        known = self._alarms.get(name)
        if known is not None and known[0] == when:
            return
        if known is not None:
            known[1].cancel()
            del self._alarms[name]
        if when is not None:
            task = asyncio.create_task(self._ring(name, when), name=f"alarm {name}")
            self._alarms[name] = (when, task)

    async def close(self) -> None:
        """Cancel all alarms."""
        tasks = [task for _, task in self._alarms.values()]
        self._alarms.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _ring(self, name: str, when: datetime) -> None:
        await self._clock.sleep(when - self._clock.now())
        if self._alarms.get(name, (None,))[0] == when:
            del self._alarms[name]
        self.add(name)
