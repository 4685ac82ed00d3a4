"""Every step of a release that the controller is asked for over HTTP, stored before or after it, so that a process that
dies in between neither loses nor doubles it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from builder.domain.builds import Build, Verdict
from builder.domain.release_ends import ReleaseEnd, overtaken, unanswered
from builder.repositories.builds import BuildRepository
from builder.repositories.releases import ReleaseRequestRepository
from shared.clock import Clock
from shared.db import Database

STOPPED = "the builder was stopped while it waited for the answer"


class ReleaseRecords:
    """The stored truth about these releases."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def unreleased(self) -> Sequence[Build]:
        """Builds whose release is still to be asked for or explained, oldest first."""
        async with self._database.session() as session:
            builds = BuildRepository(session)
            return [await builds.get(each) for each in await ReleaseRequestRepository(session).pending()]

    async def claim(self, app: str, build_id: UUID) -> dict[str, Any] | ReleaseEnd:
        """What to ask the controller, marked as asked; or how it ends, where it is not to be asked (again).

        Of two processes at once, one gets it.
        """
        async with self._database.transaction() as session:
            releases = ReleaseRequestRepository(session)
            pending = await releases.lock(build_id)
            if pending is None or pending.asked_at is not None:
                return unanswered(app, STOPPED)
            if (newer := await releases.overtaken_by(pending)) is not None:
                return overtaken(newer)
            await releases.set_asked(build_id, self._clock.now())
            return pending.body

    async def give_back(self, build_id: UUID) -> None:
        """The controller was surely not reached: it may be asked another time."""
        async with self._database.transaction() as session:
            await ReleaseRequestRepository(session).set_asked(build_id, None)

    async def ended(self, build_id: UUID, end: ReleaseEnd) -> None:
        """Store how it ended."""
        deployed_at = self._clock.now() if end.verdict is Verdict.DEPLOYED else None
        async with self._database.transaction() as session:
            await ReleaseRequestRepository(session).end(
                build_id,
                verdict=end.verdict,
                version=end.version,
                code=end.code,
                message=end.message,
                deployed_at=deployed_at,
            )
