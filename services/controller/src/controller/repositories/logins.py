"""SQL of logins under way."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, and_, delete, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.accounts import Account, LoginAttempt
from controller.repositories.accounts import account_of
from controller.schema.accounts import LoginAttemptRow, UserRow
from controller.schema.base import table_of
from shared.db import DbSession


class LoginRepository:
    """Logins under way, by the digest of the key that the client polls with or of the OAuth state."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def insert(self, values: Mapping[str, Any], *, forget_before: datetime) -> None:
        """Store a new attempt and drop those that expired before `forget_before`."""
        await self._session.execute(delete(LoginAttemptRow).where(LoginAttemptRow.expires_at < forget_before))
        await self._session.execute(insert(LoginAttemptRow).values(**values))

    async def find(self, key_digest: bytes) -> LoginAttempt | None:
        """The attempt of that key, expired ones included."""
        return await self._one(LoginAttemptRow.key_digest == key_digest)

    async def find_by_state(self, state_digest: bytes) -> LoginAttempt | None:
        """The attempt that went to passport with that state."""
        return await self._one(LoginAttemptRow.state_digest == state_digest)

    async def _one(self, condition: ColumnElement[bool]) -> LoginAttempt | None:
        query = select(table_of(LoginAttemptRow)).where(condition)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _attempt_of(row)

    async def move(self, uuid: UUID, *, now: datetime, **values: Any) -> bool:
        """Change an attempt that is still pending and has not expired; whether it was."""
        alive = and_(LoginAttemptRow.status == "pending", LoginAttemptRow.expires_at > now)
        statement = update(LoginAttemptRow).where(LoginAttemptRow.uuid == uuid, alive).values(values)
        return (await self._session.execute(statement.returning(LoginAttemptRow.uuid))).scalar_one_or_none() is not None

    async def consume(self, key_digest: bytes, *, now: datetime) -> tuple[Account, str | None] | None:
        """Take an approved attempt away, once: its user and the sealed refresh token."""
        ready = and_(
            LoginAttemptRow.key_digest == key_digest,
            LoginAttemptRow.status == "approved",
            LoginAttemptRow.expires_at > now,
        )
        taken = (
            delete(LoginAttemptRow)
            .where(ready)
            .returning(LoginAttemptRow.user_id, LoginAttemptRow.sealed_refresh_token)
            .cte("taken")
        )
        people = table_of(UserRow)
        statement = select(*people.c, taken.c.sealed_refresh_token).join(taken, taken.c.user_id == people.c.id)
        row = (await self._session.execute(statement)).one_or_none()
        return None if row is None else (account_of(row), row.sealed_refresh_token)


def _attempt_of(row: Any) -> LoginAttempt:
    """The row as a value."""
    return LoginAttempt(
        uuid=row.uuid,
        mode=row.mode,
        status=row.status,
        hint=row.hint,
        address=row.address,
        client=row.client,
        created=row.created,
        expires_at=row.expires_at,
        sealed_exchange=row.sealed_exchange,
    )
