"""Small things about tasks that several modules of the engine need."""

from __future__ import annotations

import asyncio
from typing import Any

from shared.logging import get_logger

log = get_logger(__name__)


async def cancel(*tasks: asyncio.Task[Any]) -> None:
    """Cancel these and wait for their ends; an error of one is logged."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
    for task in tasks:
        report(task)


def report(task: asyncio.Task[Any]) -> None:
    """Log the error with which a task ended, if any; fit for `add_done_callback`."""
    if task.done() and not task.cancelled() and (error := task.exception()) is not None:
        log.error("task_failed", task=task.get_name(), exc_info=error)
