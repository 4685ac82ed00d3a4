"""One push per app at a time. The lock says who holds it, for the one who is turned away."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

from builder.domain.errors import PushInProgressError
from shared.clock import Clock


@dataclass(frozen=True)
class Holder:
    """Who pushes, and since when."""

    username: str
    since: datetime


class PushLocks:
    """Held from the permission check until git and the build have ended, whether or not the client still listens.

    In memory: one builder process owns all repositories of a volume, and its pushes end with it.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._holders: dict[str, Holder] = {}

    @contextmanager
    def hold(self, app: str, username: str) -> Iterator[None]:
        """Hold the app's lock for the block.

        Raises:
            PushInProgressError: somebody holds it, with who and since when.
        """
        holder = self._holders.get(app)
        if holder is not None:
            raise PushInProgressError(app, holder.username, holder.since)
        self._holders[app] = Holder(username, self._clock.now())
        try:
            yield
        finally:
            del self._holders[app]

    def holder(self, app: str) -> Holder | None:
        return self._holders.get(app)
