"""SQL of what builds have made and of what is still kept of it."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from builder.domain.builds import BuildState
from builder.domain.retention import Product
from builder.repositories.builds import UNFINISHED
from builder.schema.tables import BuildRow


class ProductRepository:
    """Works in the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def of_app(self, app: str) -> list[Product]:
        """What the app's builds have made and was not removed, and its builds that are under way."""
        query = select(BuildRow).where(
            BuildRow.app == app, or_(BuildRow.images.is_not(None), BuildRow.state.in_(UNFINISHED))
        )
        return [_product(row) for row in await self._session.scalars(query)]

    async def removed(self, build_id: UUID) -> None:
        """Nothing is kept of it any more."""
        await self._session.execute(update(BuildRow).where(BuildRow.id == build_id).values(images=None))

    async def apps(self) -> dict[str, datetime]:
        """Every app that was ever built, and when that was asked for last."""
        query = select(BuildRow.app, func.max(BuildRow.requested_at).label("at")).group_by(BuildRow.app)
        return {row.app: row.at for row in await self._session.execute(query)}

    async def without_result(self, app: str, numbers: Collection[int]) -> set[int]:
        """Those of the app's builds of these numbers that have ended and made nothing."""
        query = select(BuildRow.number).where(
            BuildRow.app == app,
            BuildRow.number.in_(numbers),
            BuildRow.state.in_((BuildState.FAILED, BuildState.CANCELLED)),
        )
        return set(await self._session.scalars(query))

    async def unfinished(self, build_ids: Collection[UUID]) -> set[UUID]:
        """Those of these builds that have not ended."""
        query = select(BuildRow.id).where(BuildRow.id.in_(build_ids), BuildRow.state.in_(UNFINISHED))
        return set(await self._session.scalars(query))


def _product(row: BuildRow) -> Product:
    return Product(
        build_id=row.id,
        requested_at=row.requested_at,
        state=BuildState(row.state),
        is_released=row.release_version is not None,
        is_judged=row.verdict is not None,
        deployed_at=row.deployed_at,
        images=tuple(row.images or ()),
    )
