"""`GET /deliveries` and `POST /deliveries/{id}/redeliver`, for services and operators."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import BaseModel

from hooks.api.deps import CanRead, CanWrite, Service
from hooks.domain.delivery import Delivery, DeliveryState

router = APIRouter()


class DeliveryOut(BaseModel):
    """A delivery as shown. `url` lacks path and query, which may hold a token; `target` tells receivers apart."""

    id: UUID
    event_id: str
    app: str
    release: str
    url: str
    target: str
    state: DeliveryState
    attempts: int
    next_attempt_at: datetime | None
    response_status: int | None
    last_error: str | None
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, delivery: Delivery) -> DeliveryOut:
        """The public view of a delivery."""
        is_pending = delivery.state is DeliveryState.PENDING
        return cls(
            id=delivery.id, event_id=delivery.event_id, app=delivery.facts.app,
            release=f"v{delivery.facts.version}", url=delivery.url, target=delivery.target[:12], state=delivery.state,
            attempts=delivery.attempts, next_attempt_at=delivery.next_attempt_at if is_pending else None,
            response_status=delivery.response_status, last_error=delivery.last_error,
            created_at=delivery.created_at, finished_at=delivery.finished_at,
        )  # fmt: skip


class DeliveryPage(BaseModel):
    """Newest first; `next` is the value of `before` for the page that follows, null on the last one."""

    deliveries: list[DeliveryOut]
    next: UUID | None


@router.get("/deliveries", dependencies=[CanRead])
async def list_deliveries(
    service: Service,
    app: str | None = None,
    state: DeliveryState | None = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=100)] = 50,
) -> DeliveryPage:
    """Deliveries of one app, or of all."""
    found = await service.list(app=app, state=state, before=before, limit=limit)
    following = found[-1].id if len(found) == limit else None
    return DeliveryPage(deliveries=[DeliveryOut.of(each) for each in found], next=following)


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202, dependencies=[CanWrite])
async def redeliver(delivery_id: UUID, service: Service) -> DeliveryOut:
    """Send a delivery again, now."""
    return DeliveryOut.of(await service.redeliver(delivery_id))
