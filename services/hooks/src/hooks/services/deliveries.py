"""What can be done with deliveries: schedule those of an event, look at them, send one again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from sqlalchemy.ext.asyncio import AsyncSession

from hooks.domain.delivery import Delivery, DeliveryState, ReleaseFacts, Target
from hooks.domain.errors import DeliveryInFlightError, TargetGoneError
from hooks.repositories.deliveries import Deliveries
from shared.clock import Clock
from shared.db import notify, uuid7

CHANNEL = "hooks_deliveries"


class DeliveryService:
    """Deliveries to `targets`, within the caller's transaction. The caller commits."""

    def __init__(
        self, session: AsyncSession, *, targets: Sequence[Target], give_up_after: timedelta, clock: Clock
    ) -> None:
        self._session = session
        self._rows = Deliveries(session)
        self._targets = targets
        self._give_up_after = give_up_after
        self._clock = clock

    async def schedule(self, facts: ReleaseFacts, *, event_id: str) -> None:
        """Store one pending delivery per receiver and wake the sender at commit."""
        if not self._targets:
            return
        await self._rows.add(self._pending(facts, event_id, target) for target in self._targets)
        await notify(self._session, CHANNEL)

    async def list(
        self, *, app: str | None, state: DeliveryState | None, before: UUID | None, limit: int
    ) -> Sequence[Delivery]:
        """Deliveries, newest first, of one app or of all."""
        return await self._rows.list(app=app, state=state, before=before, limit=limit)

    async def redeliver(self, delivery_id: UUID) -> Delivery:
        """Make a delivery due now, whatever became of it before.

        Raises:
            DeliveryNotFoundError: there is none of this id.
            TargetGoneError: its receiver is no longer configured, so asking again later is no use either.
            DeliveryInFlightError: it is being sent at this moment.
        """
        now = self._clock.now()
        delivery = await self._rows.get_for_update(delivery_id)
        if all(target.digest != delivery.target for target in self._targets):
            raise TargetGoneError(delivery_id)
        if delivery.leased_until is not None and delivery.leased_until > now:
            raise DeliveryInFlightError(delivery_id)
        await self._rows.reopen(delivery, now=now, give_up_at=now + self._give_up_after)
        await notify(self._session, CHANNEL)
        return await self._rows.get_for_update(delivery_id)

    def _pending(self, facts: ReleaseFacts, event_id: str, target: Target) -> Delivery:
        now = self._clock.now()
        return Delivery(
            id=uuid7(), event_id=event_id, target=target.digest, url=target.label, facts=facts,
            state=DeliveryState.PENDING, attempts=0, next_attempt_at=now, give_up_at=now + self._give_up_after,
            leased_until=None, response_status=None, last_error=None, created_at=now, finished_at=None,
        )  # fmt: skip
