"""Signing keys and the counters of attempts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from sqlalchemy import delete, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from passport.domain.keys import SigningKey
from passport.domain.throttle import Bucket
from passport.schema import AttemptRow, SigningKeyRow


class SigningKeys:
    """Signing keys within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Let nobody else change the keys before this transaction ends."""
        await self._session.execute(text("LOCK TABLE signing_keys IN SHARE ROW EXCLUSIVE MODE"))

    async def list(self) -> list[SigningKey]:
        """All keys that are stored, the oldest first."""
        rows = (await self._session.execute(select(SigningKeyRow).order_by(SigningKeyRow.created_at))).scalars()
        return [SigningKey(row.kid, row.algorithm, row.encrypted_key, row.created_at, row.active_from) for row in rows]

    async def add(self, key: SigningKey) -> None:
        """Store a new key."""
        self._session.add(
            SigningKeyRow(
                kid=key.kid,
                algorithm=key.algorithm,
                encrypted_key=key.encrypted_key,
                created_at=key.created_at,
                active_from=key.active_from,
            )
        )
        await self._session.flush()

    async def replace_ciphertext(self, kid: str, encrypted_key: bytes) -> None:
        """Store the same key, encrypted anew."""
        statement = update(SigningKeyRow).where(SigningKeyRow.kid == kid)
        await self._session.execute(statement.values(encrypted_key=encrypted_key))

    async def delete(self, kids: Iterable[str]) -> None:
        """Forget keys; what they signed is no longer accepted."""
        await self._session.execute(delete(SigningKeyRow).where(SigningKeyRow.kid.in_(list(kids))))


class Attempts:
    """Buckets of login attempts within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self, full: Mapping[bytes, Bucket]) -> dict[bytes, Bucket]:
        """The buckets of the keys in `full`; those that are not there yet begin as given.

        Others that want the same buckets wait until this transaction ends.
        """
        keys = sorted(full)  # always in the same order, so that two logins do not deadlock
        rows = [{"key": key, "level": full[key].level, "measured_at": full[key].measured_at} for key in keys]
        await self._session.execute(insert(AttemptRow).values(rows).on_conflict_do_nothing())
        statement = select(AttemptRow).where(AttemptRow.key.in_(keys)).order_by(AttemptRow.key).with_for_update()
        found = (await self._session.execute(statement)).scalars()
        return {row.key: Bucket(row.level, row.measured_at) for row in found}

    async def put(self, buckets: Mapping[bytes, Bucket]) -> None:
        """Store buckets that were locked."""
        for key, bucket in buckets.items():
            statement = update(AttemptRow).where(AttemptRow.key == key)
            await self._session.execute(statement.values(level=bucket.level, measured_at=bucket.measured_at))
