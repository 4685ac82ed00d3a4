"""The last lines of what has failed, read once for all who ask within some seconds."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from controller.domain.spec import LAST_LINES
from controller.engine.kubernetes.findings import Finding, LogSource
from controller.engine.kubernetes.logs import Logs
from shared.clock import Clock

_LIFETIME: Final = timedelta(seconds=10)
_MOST: Final = 1000


class LastLines:
    """Whoever lists what runs again and again does not read them from the cluster each time."""

    def __init__(self, logs: Logs, clock: Clock) -> None:
        self._logs = logs
        self._clock = clock
        self._known: dict[tuple[str, LogSource], tuple[datetime, tuple[str, ...]]] = {}

    async def of(self, app: str, finding: Finding) -> tuple[str, ...]:
        """The last lines that a finding points to; none when it points nowhere, or when they cannot be had."""
        source = finding.log_source
        if source is None:
            return ()
        when, lines = self._known.pop((app, source), (None, ()))
        if when is None or self._clock.now() - when >= _LIFETIME:
            when, lines = self._clock.now(), await self._logs.tail(app, source, lines=LAST_LINES)
        self._known[app, source] = (when, lines)
        if len(self._known) > _MOST:
            del self._known[next(iter(self._known))]
        return lines
