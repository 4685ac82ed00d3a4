"""What must be stored is stored when the database is back: it may be away for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from shared.db.database import is_database_away
from shared.logging import get_logger

log = get_logger(__name__)
T = TypeVar("T")
PAUSE_SECONDS = 1.0


async def insist(
    work: Callable[[], Awaitable[T]],
    *,
    on_absence: Callable[[], None] = lambda: None,
    tries: int | None = None,
    pause_seconds: float | None = None,
) -> T:
    """Do it again while the database is away, `tries` times (None: for as long as it takes); `on_absence` is called
    once, when it is found to be away. The work must bear to be done twice: an answer to a commit may be lost.

    Raises:
        DatabaseAwayError: it still is.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return await work()
        except Exception as exc:
            if not is_database_away(exc) or attempt == tries:
                raise
            log.warning("not_stored_yet", error=type(exc).__name__)
        if attempt == 1:
            on_absence()
        await asyncio.sleep(PAUSE_SECONDS if pause_seconds is None else pause_seconds)
