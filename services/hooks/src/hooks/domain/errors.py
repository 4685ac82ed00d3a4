"""Errors of this service."""

from __future__ import annotations

from uuid import UUID

from shared.errors import ConflictError, NotFoundError


class DeliveryNotFoundError(NotFoundError):
    """There is no delivery of this id."""

    code = "delivery-not-found"
    title = "No such delivery"

    def __init__(self, delivery_id: UUID) -> None:
        super().__init__(
            f"there is no delivery {delivery_id}; list them with GET /deliveries", delivery=str(delivery_id)
        )


class DeliveryInFlightError(ConflictError):
    """The delivery is being sent at this moment."""

    code = "delivery-in-flight"
    title = "The delivery is being sent"

    def __init__(self, delivery_id: UUID) -> None:
        super().__init__(
            f"delivery {delivery_id} is being sent right now; ask again in a minute",
            delivery=str(delivery_id),
            headers={"Retry-After": "60"},
        )


class TargetGoneError(ConflictError):
    """The URL of the delivery is no longer among the configured ones."""

    code = "target-gone"
    title = "The receiver is no longer configured"

    def __init__(self, delivery_id: UUID) -> None:
        super().__init__(
            f"the URL of delivery {delivery_id} is no longer in HOOKS_URLS; add it there to send this again",
            delivery=str(delivery_id),
        )
