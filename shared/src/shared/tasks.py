"""Owns background tasks: every loop has a name, is started again when it dies, and ends with its owner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Self

from shared.logging import get_logger
from shared.metrics import TASK_RESTARTS

_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 30.0
_STEADY_SECONDS: Final = 60.0
log = get_logger(__name__)


class TaskOwner:
    """An asynchronous context manager. At its exit every task is cancelled and waited for."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[None], str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def start(self, name: str, function: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        """Run `function` until it returns. When it raises, log that and call it again after a growing pause.

        The pause starts at 0.1 s, doubles up to 30 s, and starts anew once a run has lasted a minute.
        """
        task = asyncio.create_task(_keep_running(name, function), name=name)
        self._tasks[task] = name
        task.add_done_callback(lambda done: self._tasks.pop(done, None))
        return task


async def _keep_running(name: str, function: Callable[[], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    pause = _FIRST_PAUSE_SECONDS
    while True:
        started = loop.time()
        try:
            await function()
        except Exception:
            TASK_RESTARTS.labels(name).inc()
            if loop.time() - started > _STEADY_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            log.exception("task_died", task=name, again_in_seconds=pause)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
        else:
            return
