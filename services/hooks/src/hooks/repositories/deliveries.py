"""Rows of the table `deliveries`: written once per event and receiver, claimed under a lease, finished or put off."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from hooks.domain.delivery import Delivery, DeliveryState, Outcome, ReleaseFacts
from hooks.domain.errors import DeliveryNotFoundError
from hooks.schema import deliveries
from shared.db import UtcDateTime


class Deliveries:
    """The deliveries, within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, new: Iterable[Delivery]) -> None:
        """Store deliveries; one that is there already (same event, same receiver) stays as it is."""
        rows = [_row_of(delivery) for delivery in new]
        if rows:
            statement = insert(deliveries).on_conflict_do_nothing(index_elements=["event_id", "target"])
            await self._session.execute(statement, rows)

    async def claim(self, *, now: datetime, lease: timedelta, limit: int) -> list[Delivery]:
        """Up to `limit` due deliveries, longest waiting first, which no other sender gets until the lease ends."""
        due = (
            sa.select(deliveries.c.id)
            .where(deliveries.c.state == DeliveryState.PENDING, deliveries.c.next_attempt_at <= now)
            .where(sa.or_(deliveries.c.leased_until.is_(None), deliveries.c.leased_until <= now))
            .order_by(deliveries.c.next_attempt_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        claimed = (
            sa.update(deliveries)
            .where(deliveries.c.id.in_(due.scalar_subquery()))
            .values(leased_until=now + lease, attempts=deliveries.c.attempts + 1)
            .returning(deliveries)
        )
        rows = (await self._session.execute(claimed)).mappings().all()
        return sorted((_delivery_of(row) for row in rows), key=lambda each: each.next_attempt_at)

    async def finish(self, delivery: Delivery, outcome: Outcome, *, now: datetime) -> None:
        """Record that a claimed delivery has come to its end: delivered or failed."""
        state = DeliveryState.DELIVERED if outcome.is_delivered else DeliveryState.FAILED
        await self._settle(delivery, outcome, state=state, finished_at=now)

    async def put_off(self, delivery: Delivery, outcome: Outcome, *, until: datetime) -> None:
        """Record that an attempt failed and when the next one is due."""
        await self._settle(delivery, outcome, next_attempt_at=until)

    async def release(self, delivery: Delivery) -> None:
        """Give a claimed delivery back: whether its attempt arrived is not known, so it is due at once."""
        await self._session.execute(self._held(delivery).values(leased_until=None))

    async def next_due(self) -> datetime | None:
        """When there is something to claim next: the end of a delay or of a lease. None when nothing is pending."""
        due = sa.func.greatest(deliveries.c.next_attempt_at, deliveries.c.leased_until, type_=UtcDateTime())
        statement = sa.select(sa.func.min(due)).where(deliveries.c.state == DeliveryState.PENDING)
        found: datetime | None = await self._session.scalar(statement)
        return found

    async def get_for_update(self, delivery_id: UUID) -> Delivery:
        """The delivery, locked until the transaction ends.

        Raises:
            DeliveryNotFoundError: there is none of this id.
        """
        statement = sa.select(deliveries).where(deliveries.c.id == delivery_id).with_for_update()
        row = (await self._session.execute(statement)).mappings().one_or_none()
        if row is None:
            raise DeliveryNotFoundError(delivery_id)
        return _delivery_of(row)

    async def list(
        self, *, app: str | None, state: DeliveryState | None, before: UUID | None, limit: int
    ) -> Sequence[Delivery]:
        """Deliveries, newest first (ids grow with time), of one app or of all; `before` continues after that id."""
        statement = sa.select(deliveries).order_by(deliveries.c.id.desc()).limit(limit)
        if app is not None:
            statement = statement.where(deliveries.c.app == app)
        if state is not None:
            statement = statement.where(deliveries.c.state == state)
        if before is not None:
            statement = statement.where(deliveries.c.id < before)
        return [_delivery_of(row) for row in (await self._session.execute(statement)).mappings()]

    async def reopen(self, delivery: Delivery, *, now: datetime, give_up_at: datetime) -> None:
        """Make a delivery due now, with a new count of attempts and a new time to give up."""
        await self._session.execute(
            sa.update(deliveries)
            .where(deliveries.c.id == delivery.id)
            .values(
                state=DeliveryState.PENDING, attempts=0, next_attempt_at=now, give_up_at=give_up_at,
                leased_until=None, finished_at=None,
            )
        )  # fmt: skip

    async def _settle(self, delivery: Delivery, outcome: Outcome, **values: Any) -> None:
        await self._session.execute(
            self._held(delivery).values(
                leased_until=None, response_status=outcome.status, last_error=outcome.error, **values
            )
        )

    def _held(self, delivery: Delivery) -> sa.Update:
        # A sender that overstayed its lease must not overwrite what its successor recorded: the lease is the fence.
        held = deliveries.c.leased_until == delivery.leased_until
        return sa.update(deliveries).where(deliveries.c.id == delivery.id, held)


def _row_of(delivery: Delivery) -> dict[str, Any]:
    facts = asdict(delivery.facts)
    row = {column.name: getattr(delivery, column.name) for column in deliveries.columns if column.name != "app"}
    return row | {"app": facts.pop("app"), "facts": facts}


def _delivery_of(row: sa.RowMapping) -> Delivery:
    values = dict(row)
    facts = ReleaseFacts(app=values.pop("app"), **values.pop("facts"))
    return Delivery(**values | {"facts": facts, "state": DeliveryState(row["state"])})
