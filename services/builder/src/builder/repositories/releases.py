"""Storage of the releases that the controller is asked for over HTTP: asked at most once of each build."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from builder.domain.builds import Verdict
from builder.schema.tables import BuildRow


@dataclass(frozen=True)
class Pending:
    """A release that is still to be asked for, or whose answer is: then `asked_at` is set."""

    app: str
    number: int
    body: dict[str, Any]
    asked_at: datetime | None


class ReleaseRequestRepository:
    """Works in the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def pending(self) -> Sequence[UUID]:
        """Builds whose release is still to be asked for or explained, oldest first."""
        query = select(BuildRow.id).where(BuildRow.release_request.is_not(None)).order_by(BuildRow.id)
        return list(await self._session.scalars(query))

    async def lock(self, build_id: UUID) -> Pending | None:
        """The request of one build, until the end of the transaction; None when it is over."""
        columns = (BuildRow.app, BuildRow.number, BuildRow.release_request, BuildRow.release_asked_at)
        query = select(*columns).where(BuildRow.id == build_id, BuildRow.release_request.is_not(None))
        row = (await self._session.execute(query.with_for_update())).one_or_none()
        return None if row is None else Pending(*row)

    async def overtaken_by(self, pending: Pending) -> int | None:
        """The number of a newer build of the app whose release was asked for already, or None."""
        query = select(BuildRow.number).where(
            BuildRow.app == pending.app,
            BuildRow.number > pending.number,
            BuildRow.release_asked_at.is_not(None),
        )
        return (await self._session.execute(query.order_by(BuildRow.number.desc()).limit(1))).scalar_one_or_none()

    async def set_asked(self, build_id: UUID, at: datetime | None) -> None:
        """The controller is about to be asked, or (None) was not reached."""
        await self._session.execute(update(BuildRow).where(BuildRow.id == build_id).values(release_asked_at=at))

    async def end(
        self,
        build_id: UUID,
        *,
        verdict: Verdict | None,
        version: int | None,
        code: str | None,
        message: str | None,
        deployed_at: datetime | None,
    ) -> None:
        """Nothing more is asked about the release. What is known for certain stands, whatever is heard later."""
        await self._session.execute(
            update(BuildRow)
            .where(BuildRow.id == build_id, BuildRow.verdict.is_(None))
            .values(
                verdict=verdict,
                verdict_code=code,
                verdict_message=message,
                release_version=version,
                deployed_at=deployed_at,
                release_request=None,
            )
        )
