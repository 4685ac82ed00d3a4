"""Storage of build records and, in the same transactions, of the events about them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from sqlalchemy import Update, case, delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from builder.domain.builds import Build, BuildState, Verdict
from builder.domain.errors import BuildNotFoundError
from builder.schema.tables import BuildRow, inbox, outbox
from shared.events import Event
from shared.outbox import Inbox, Outbox

SOURCE = "/services/builder"
MakeEvent: TypeAlias = Callable[[Build], Event]
"""What is told of a build that has just changed."""
UNFINISHED = (BuildState.REQUESTED, BuildState.RUNNING)


class BuildRepository:
    """Works in the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session
        self._outbox = Outbox(session, outbox, source=SOURCE)
        self._inbox = Inbox(session, inbox)

    async def get(self, build_id: UUID) -> Build:
        """The build of that id.

        Raises:
            BuildNotFoundError: there is none.
        """
        row = await self._session.get(BuildRow, build_id)
        if row is None:
            raise BuildNotFoundError(build_id)
        return _build(row)

    async def page(self, *, app: str | None, before: UUID | None, limit: int) -> list[Build]:
        """Builds, newest first; `before` continues after the last one of an earlier list (ids are ordered by time)."""
        query = select(BuildRow).order_by(BuildRow.id.desc()).limit(limit)
        if app is not None:
            query = query.where(BuildRow.app == app)
        if before is not None:
            query = query.where(BuildRow.id < before)
        return [_build(row) for row in await self._session.scalars(query)]

    async def unfinished(self) -> Sequence[Build]:
        """Builds that are neither over nor given up."""
        query = select(BuildRow).where(BuildRow.state.in_(UNFINISHED))
        return [_build(row) for row in await self._session.scalars(query.order_by(BuildRow.id))]

    async def to_clear(self) -> Sequence[Build]:
        """Builds that are over and of which the runner may still have something."""
        query = select(BuildRow).where(BuildRow.to_clear, BuildRow.state.not_in(UNFINISHED))
        return [_build(row) for row in await self._session.scalars(query.order_by(BuildRow.id))]

    async def set_cleared(self, build_id: UUID) -> None:
        """The runner has nothing of it any more."""
        await self._session.execute(update(BuildRow).where(BuildRow.id == build_id).values(to_clear=False))

    async def newest(self, app: str) -> Build | None:
        """The app's last build, if there was one; one build of an app at a time asks, in its turn."""
        query = select(BuildRow).where(BuildRow.app == app).order_by(BuildRow.number.desc()).limit(1)
        row = (await self._session.scalars(query)).one_or_none()
        return None if row is None else _build(row)

    async def deployed_last(self, app: str) -> UUID | None:
        """The build that was deployed last, which a rollback does as well."""
        query = select(BuildRow.id).where(BuildRow.app == app, BuildRow.deployed_at.is_not(None))
        return (await self._session.scalars(query.order_by(BuildRow.deployed_at.desc()).limit(1))).one_or_none()

    async def unjudged(self, *, since: datetime) -> Sequence[Build]:
        """Builds that have succeeded since then, and of whose release the end was not heard."""
        query = select(BuildRow).where(
            BuildRow.state == BuildState.SUCCEEDED,
            BuildRow.ended_at > since,
            BuildRow.verdict.is_(None),
            BuildRow.verdict_code.is_(None),
        )
        return [_build(row) for row in await self._session.scalars(query.order_by(BuildRow.id))]

    async def add(self, build: Build, *events: Event, request: dict[str, Any], is_lasting: bool = False) -> None:
        """Store a new build, and what it was asked for; `is_lasting`: the runner has something of it until told not
        to."""
        self._session.add(BuildRow(**asdict(build), request=request, to_clear=is_lasting))
        await self._session.flush()
        await self._outbox.add(*events)

    async def request(self, build_id: UUID) -> dict[str, Any] | None:
        """What the build was asked for; None for one of a time when that was not kept."""
        query = select(BuildRow.request).where(BuildRow.id == build_id)
        return (await self._session.execute(query)).scalar_one_or_none()

    async def start(self, build_id: UUID, *, at: datetime, event: MakeEvent) -> None:
        """The build runs from now on; nothing changes for one that does already, in the hands of an earlier process."""
        await self._change(
            update(BuildRow)
            .where(BuildRow.id == build_id, BuildRow.state == BuildState.REQUESTED)
            .values(state=BuildState.RUNNING, started_at=at),
            event,
        )

    async def end(
        self,
        build_id: UUID,
        *,
        state: BuildState,
        at: datetime,
        event: MakeEvent,
        code: str | None = None,
        message: str | None = None,
        release: Mapping[str, Any] | None = None,
        images: Sequence[str] | None = None,
    ) -> None:
        """The build is over; `code` and `message` say why, unless it succeeded: then it has made `images`. `release` is
        still to be asked for.

        The first end counts: what comes after it, because an answer to the commit was lost, changes nothing.
        """
        await self._change(
            update(BuildRow)
            .where(BuildRow.id == build_id, BuildRow.state.in_(UNFINISHED))
            .values(state=state, ended_at=at, code=code, message=message, release_request=release, images=images),
            event,
        )

    async def _change(self, statement: Update, event: MakeEvent) -> None:
        changed = (await self._session.scalars(statement.returning(BuildRow))).one_or_none()
        if changed is not None:
            await self._outbox.add(event(_build(changed)))

    async def first_time(self, consumer: str, event_id: str) -> bool:
        """Whether the consumer sees this event for the first time."""
        return await self._inbox.first_time(consumer, event_id)

    async def set_news(
        self,
        build_id: UUID,
        *,
        version: int | None = None,
        verdict: Verdict | None = None,
        code: str | None = None,
        message: str | None = None,
        deployed_at: datetime | None = None,
    ) -> None:
        """What the controller said of a release of the build. The first release counts, and the first verdict, which
        `code` and `message` explain, as they do that none is coming; `deployed_at` moves on whenever a rollback
        deploys the build once more, in whichever order that is heard."""
        values: dict[str, Any] = {}
        if version is not None:
            values["release_version"] = func.coalesce(BuildRow.release_version, version)
        if verdict is not None:
            values["verdict"] = func.coalesce(BuildRow.verdict, verdict)
        if verdict is not None or code is not None:
            is_first = BuildRow.verdict.is_(None)
            values["verdict_code"] = case((is_first, code), else_=BuildRow.verdict_code)
            values["verdict_message"] = case((is_first, message), else_=BuildRow.verdict_message)
        if deployed_at is not None:
            values["deployed_at"] = func.greatest(BuildRow.deployed_at, deployed_at)
        await self._session.execute(update(BuildRow).where(BuildRow.id == build_id).values(values))

    async def delete_app(self, app: str) -> None:
        """Forget the app: another one may get its name."""
        await self._session.execute(delete(BuildRow).where(BuildRow.app == app))


def _build(row: BuildRow) -> Build:
    return Build(
        id=row.id,
        app=row.app,
        number=row.number,
        actor=row.actor,
        sha=row.sha,
        branch=row.branch,
        state=BuildState(row.state),
        requested_at=row.requested_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        code=row.code,
        message=row.message,
        release_version=row.release_version,
        verdict=Verdict(row.verdict) if row.verdict else None,
        verdict_code=row.verdict_code,
        verdict_message=row.verdict_message,
        deployed_at=row.deployed_at,
    )
