"""Releases that a controller makes when it is asked to, for controllers that hear no events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from builder.domain.builds import Build, Verdict
from builder.domain.errors import ControllerUnavailableError
from builder.domain.release_ends import ReleaseEnd, unreached
from builder.domain.text import failure, progress
from builder.runner.port import BuildResult, BuildSpec
from builder.services.release_calls import ReleaseCalls
from builder.services.release_records import ReleaseRecords
from builder.services.releases import Outcome
from builder.services.runs import BuildRun
from builder.services.storing import insist
from shared.db.database import is_database_away
from shared.logging import get_logger

log = get_logger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
PROGRESS_SECONDS = 20.0
DATABASE_PAUSE_SECONDS = 1.0
DATABASE_TRIES = 30
# Old controllers know commits by eight characters (builder.md 8).
SHORT_SHA = 8

T = TypeVar("T")


class ReleasesByHook:
    """Asks the controller, for at most `patience` while it cannot be reached, and never again once it may have heard.

    What is asked is stored with the build's success, and that it is asked before it is: see `ReleaseRecords`.
    """

    def __init__(self, calls: ReleaseCalls, records: ReleaseRecords, *, patience: timedelta) -> None:
        self._calls = calls
        self._records = records
        self._patience = patience.total_seconds()

    def request(self, spec: BuildSpec, result: BuildResult) -> Mapping[str, Any]:
        """See `Releases`: the body of the call (builder.md 8)."""
        return {
            "receive_user": spec.actor,
            "receive_repo": spec.app,
            "sha": spec.sha[:SHORT_SHA],
            "image": result.image,
            "stack": result.stack,
            "procfile": dict(result.procfile),
            "dryccfile": dict(result.dryccfile),
            "dockerfile": result.dockerfile,
        }

    @contextmanager
    def expect(self, run: BuildRun) -> Iterator[Outcome]:
        """See `Releases`; there is no news but the answer."""
        yield partial(self._outcome, run)

    async def unreleased(self) -> Sequence[Build]:
        """See `Releases`."""
        return await self._records.unreleased()

    async def _outcome(self, run: BuildRun) -> bool:
        app, build_id = run.spec.app, run.spec.build_id
        try:
            end = await self._ask(run)
            await self._record(run, end)
        except Exception:
            log.exception("release_broke")
            hint = f"See `drycc releases list -a {app}` before you push again; the platform's log says more."
            run.log.conclude(
                failure("No verdict", code="internal", message="the builder failed unexpectedly", hint=hint)
            )
            return False
        run.log.conclude(end.text(app))
        log.info("release_ended", build_id=str(build_id), verdict=end.verdict, version=end.version, code=end.code)
        return end.verdict is Verdict.DEPLOYED

    async def _ask(self, run: BuildRun) -> ReleaseEnd:
        app, build_id = run.spec.app, run.spec.build_id
        loop = asyncio.get_running_loop()
        give_up_at, pause = loop.time() + self._patience, FIRST_PAUSE_SECONDS
        while True:
            claimed = await _stored(lambda: self._records.claim(app, build_id))
            if isinstance(claimed, ReleaseEnd):
                return claimed
            try:
                return await _with_progress(run, self._calls.make(app, build_id, claimed))
            except ControllerUnavailableError:
                await _stored(lambda: self._records.give_back(build_id))
            if loop.time() + pause > give_up_at:
                return unreached(self._patience / 60)
            if pause == FIRST_PAUSE_SECONDS:
                run.log.conclude(progress("The controller cannot be reached; trying again..."))
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _record(self, run: BuildRun, end: ReleaseEnd) -> None:
        """What the controller said is told to the pusher even where it cannot be stored."""
        try:
            await _stored(lambda: self._records.ended(run.spec.build_id, end))
        except Exception as exc:
            if not is_database_away(exc):
                raise
            log.error("release_not_recorded", version=end.version, code=end.code)  # noqa: TRY400  a known cause


async def _stored(work: Callable[[], Awaitable[T]]) -> T:
    """Do it again while the database is away, for about half a minute."""
    return await insist(work, tries=DATABASE_TRIES + 1, pause_seconds=DATABASE_PAUSE_SECONDS)


async def _with_progress(run: BuildRun, call: Awaitable[ReleaseEnd]) -> ReleaseEnd:
    """Wait for the answer, and let those who wait see that somebody does."""
    task = asyncio.ensure_future(call)
    try:
        while True:
            done, _ = await asyncio.wait({task}, timeout=PROGRESS_SECONDS)
            if done:
                return task.result()
            run.log.conclude(progress("Waiting for the controller to make the release..."))
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
