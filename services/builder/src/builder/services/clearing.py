"""Takes away what the runner still has of a build that has ended, besides its result."""

from __future__ import annotations

import asyncio

from builder.runner.port import BuildSpec, LastingRunner, Runner
from builder.services.logs import BuildLogs
from builder.services.records import BuildRecords
from builder.services.storing import insist
from builder.tasks import OneShots
from shared.errors import SuiteError, UnavailableError
from shared.logging import get_logger

log = get_logger(__name__)

PAUSES_SECONDS = (5.0, 15.0, 60.0, 300.0, 900.0)
"""A cluster or storage that is away is asked again to remove what a build has left: the build may still run there."""


class Clearing:
    """Clears in the background; only a runner whose builds outlive the builder leaves anything."""

    def __init__(self, *, runner: Runner, records: BuildRecords, logs: BuildLogs) -> None:
        self._runner = runner if isinstance(runner, LastingRunner) else None
        self._records = records
        self._logs = logs
        self._tasks = OneShots()

    def begin(self, spec: BuildSpec) -> None:
        """Whatever there is of that build is not needed any more; nobody waits for this."""
        if self._runner is not None:
            self._tasks.spawn(self._clear(self._runner, spec), name=f"clear-{spec.build_id}")

    async def close(self, *, seconds: float) -> None:
        """Let what has begun end by itself for at most this long; the next process does what is missing."""
        await self._tasks.drain(seconds=seconds)
        await self._tasks.close()

    async def _clear(self, runner: LastingRunner, spec: BuildSpec) -> None:
        for pause in (0.0, *PAUSES_SECONDS):
            await asyncio.sleep(pause)
            try:
                await runner.end(spec)
                await self._logs.forget_position(spec.app, spec.build_id)
                await insist(lambda: self._records.cleared(spec.build_id))
            except SuiteError as exc:  # the next process tries again, and what stays at last ends by its own deadline
                log.warning("build_not_cleared", build_id=str(spec.build_id), error=exc.detail)
                if isinstance(exc, UnavailableError):
                    continue
            return
