"""Limits failed logins by account and by address, for all processes together."""

from __future__ import annotations

from passport.domain.errors import TooManyAttemptsError
from passport.domain.secrets import Sealer
from passport.domain.throttle import Bucket, Limit, address_group
from passport.repositories.keys import Attempts
from shared.clock import Clock
from shared.db import Database


class Throttle:
    """An attempt is taken before the password is checked, so that parallel guesses count too, and given back if right.

    Each call is a transaction of its own: what it counts stays, whatever becomes of the request.
    """

    def __init__(self, database: Database, *, account: Limit, address: Limit, sealer: Sealer, clock: Clock) -> None:
        self._database = database
        self._account = account
        self._address = address
        self._sealer = sealer
        self._clock = clock

    async def take(self, *, username: str, address: str | None) -> None:
        """Count an attempt.

        Raises:
            TooManyAttemptsError: none is left; nothing was counted.
        """
        limits = self._limits(username, address)
        async with self._database.transaction() as session:
            buckets = await self._current(Attempts(session), limits)
            taken = {key: bucket.take() for key, bucket in buckets.items()}
            if any(bucket is None for bucket in taken.values()):
                raise TooManyAttemptsError(max(bucket.wait(limits[key]) for key, bucket in buckets.items()))
            await Attempts(session).put({key: bucket for key, bucket in taken.items() if bucket is not None})

    async def give_back(self, *, username: str, address: str | None) -> None:
        """The attempt was no failure."""
        limits = self._limits(username, address)
        async with self._database.transaction() as session:
            buckets = await self._current(Attempts(session), limits)
            await Attempts(session).put({key: bucket.put_back(limits[key]) for key, bucket in buckets.items()})

    async def _current(self, attempts: Attempts, limits: dict[bytes, Limit]) -> dict[bytes, Bucket]:
        now = self._clock.now()
        full = {key: Bucket(float(limit.burst), now) for key, limit in limits.items()}
        buckets = await attempts.lock(full)
        return {key: bucket.at(now, limits[key]) for key, bucket in buckets.items()}

    def _limits(self, username: str, address: str | None) -> dict[bytes, Limit]:
        limits = {self._sealer.seal("account", username.casefold()): self._account}
        if address:
            limits[self._sealer.seal("address", address_group(address))] = self._address
        return limits
