"""One-shot tasks with an owner: kept, logged when they end badly, cancelled and awaited at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from shared.logging import get_logger

log = get_logger(__name__)


class OneShots:
    """Owns tasks that end by themselves. After `close` none is left and no new one is taken."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._closed = False

    def spawn(self, coroutine: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
        """Start a task; a surprise in it is logged with its traceback."""
        if self._closed:
            coroutine.close()
            raise RuntimeError(f"{name}: the owner of this task has been closed")
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task_failed", task=task.get_name(), exc_info=error)

    async def drain(self, *, seconds: float) -> None:
        """Let the tasks end by themselves for at most this long."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=seconds)

    async def close(self) -> None:
        """Cancel what still runs and wait for the end of it."""
        self._closed = True
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
