"""What passport tells of people: taken over here, and effective at once in this process."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from controller.domain.accounts import Profile
from controller.services.accounts import Accounts
from controller.services.confirmation import UnitOfWork
from shared.bus import Bus
from shared.events import Envelope, UserChanged

CONSUMER: Final = "controller.users"
PATTERNS: Final = ("user.changed",)


class UserConsumer:
    """Stores what `user.changed` says, unless something newer is known; a second delivery changes nothing."""

    def __init__(self, *, unit_of_work: UnitOfWork, forget: Callable[[int], None]) -> None:
        self._unit_of_work = unit_of_work
        self._forget = forget

    async def subscribe(self, bus: Bus) -> None:
        """Start to receive."""
        await bus.subscribe(consumer=CONSUMER, patterns=PATTERNS, handler=self.handle)

    async def handle(self, envelope: Envelope) -> None:
        """Take one event over."""
        event = envelope.unwrap()
        if not isinstance(event, UserChanged):
            return
        async with self._unit_of_work() as uow:
            if not await uow.inbox.first_time(CONSUMER, envelope.id):
                return
            await Accounts(uow).store(_profile(event), signed_in=False, said_at=envelope.time)
        self._forget(event.user_id)


def _profile(event: UserChanged) -> Profile:
    return Profile(
        id=event.user_id,
        username=event.username,
        email=event.email,
        first_name=event.first_name,
        last_name=event.last_name,
        is_active=event.is_active,
        is_staff=event.is_staff,
        is_superuser=event.is_superuser,
    )
