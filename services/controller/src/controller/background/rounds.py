"""Work that comes again after a pause, for as long as the process lives."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta

from shared.clock import Clock
from shared.db import is_database_away
from shared.errors import SuiteError
from shared.logging import get_logger

log = get_logger(__name__)


async def go_round(
    work: Callable[[], Awaitable[timedelta]], *, clock: Clock, task: str, after_failure: timedelta
) -> None:
    """Do `work` until cancelled, each time after the pause that it returns.

    What is known to go wrong (a database that is away, a `SuiteError`) is told, as `task`, and tried again
    `after_failure`.

    Raises:
        Exception: `work` raised what nobody expects.
    """
    while True:
        try:
            pause = await work()
        except Exception as error:
            if not (isinstance(error, SuiteError) or is_database_away(error)):
                raise
            log.warning("round_postponed", task=task, reason=f"{type(error).__name__}: {error}")
            pause = after_failure
        await clock.sleep(pause)
