"""Codes, token families and tokens, for the protocol engine: synchronous, inside SQLAlchemy's greenlet bridge.

A query here suspends the coroutine that entered the bridge; the event loop is not blocked.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import TypeVar
from uuid import UUID

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from passport.domain.accounts import Account
from passport.domain.clients import Client
from passport.domain.tokens import AccessToken, Code, Family, RefreshToken
from passport.repositories.accounts import to_account
from passport.repositories.clients import to_client
from passport.schema import AccessTokenRow, AccountRow, ClientRow, CodeRow, FamilyRow, RefreshTokenRow

T = TypeVar("T")


class Grants:
    """What was granted, within the transaction of `session`."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def release(self) -> None:
        """Commit and give the connection back, before something slow that needs none."""
        self._session.commit()

    def find_client(self, client_id: str) -> Client | None:
        """The client of that id."""
        if "\x00" in client_id:  # which PostgreSQL cannot compare with
            return None
        row = self._session.get(ClientRow, client_id)
        return None if row is None else to_client(row)

    def find_account(self, account_id: int) -> Account | None:
        """The account, if it is active."""
        statement = select(AccountRow).where(AccountRow.id == account_id, AccountRow.is_active)
        row = self._one(statement)
        return None if row is None else to_account(row)

    def add_code(self, code: Code) -> None:
        """Store a new code."""
        self._add(CodeRow(**asdict(code)))

    def lock_code(self, digest: bytes) -> Code | None:
        """The code, used or not; another that wants it waits until this transaction ends."""
        row = self._one(select(CodeRow).where(CodeRow.digest == digest).with_for_update())
        if row is None:
            return None
        return Code(**{name: getattr(row, name) for name in Code.__dataclass_fields__})

    def use_code(self, code: Code, *, family_id: UUID, now: datetime) -> None:
        """Mark the code as used, for the tokens of that family."""
        values = {"used_at": now, "family_id": family_id}
        self._session.execute(update(CodeRow).where(CodeRow.digest == code.digest).values(values))

    def add_family(self, family: Family) -> None:
        """Store a new family."""
        values = asdict(family) | {"audiences": list(family.audiences), "revoked_because": None}
        self._add(FamilyRow(**values))

    def revoke_family(self, family_id: UUID, *, because: str, now: datetime) -> None:
        """Make every token of the family invalid, for good."""
        statement = update(FamilyRow).where(FamilyRow.id == family_id, FamilyRow.revoked_at.is_(None))
        self._session.execute(statement.values(revoked_at=now, revoked_because=because))

    def add_refresh_token(self, digest: bytes, *, family_id: UUID, now: datetime, expires_at: datetime) -> None:
        """Store a refresh token."""
        row = RefreshTokenRow(digest=digest, family_id=family_id, issued_at=now, expires_at=expires_at, used_at=None)
        self._add(row)

    def lock_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """The refresh token, used or not, and its family; another that wants one of the family waits.

        The token is read after its family was locked: a statement that waits for one row does not look at the others
        again, and would miss that the token was used meanwhile.
        """
        family_id = select(RefreshTokenRow.family_id).where(RefreshTokenRow.digest == digest).scalar_subquery()
        family = self._one(select(FamilyRow).where(FamilyRow.id == family_id).with_for_update())
        token = self._one(select(RefreshTokenRow).where(RefreshTokenRow.digest == digest))
        if family is None or token is None:
            return None
        return RefreshToken(_to_family(family), token.expires_at, token.used_at, token.digest)

    def find_refresh_token(self, digest: bytes) -> RefreshToken | None:
        """The refresh token, used or not, without locking it."""
        statement = select(RefreshTokenRow, FamilyRow).join(FamilyRow).where(RefreshTokenRow.digest == digest)
        row = self._session.execute(statement).one_or_none()
        return None if row is None else RefreshToken(_to_family(row[1]), row[0].expires_at, row[0].used_at, digest)

    def use_refresh_token(self, digest: bytes, now: datetime) -> None:
        """Mark the token as exchanged."""
        self._session.execute(update(RefreshTokenRow).where(RefreshTokenRow.digest == digest).values(used_at=now))

    def add_access_token(self, token: AccessToken) -> None:
        """Store that an access token was issued."""
        row = AccessTokenRow(
            jti=token.jti,
            family_id=token.family.id,
            scope=token.scope,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
        )
        self._add(row)

    def find_access_token(self, jti: str) -> AccessToken | None:
        """The access token with its family and account as they are now."""
        statement = (
            select(AccessTokenRow, FamilyRow, AccountRow)
            .join(FamilyRow, FamilyRow.id == AccessTokenRow.family_id)
            .outerjoin(AccountRow, AccountRow.id == FamilyRow.account_id)
            .where(AccessTokenRow.jti == jti)
        )
        row = self._session.execute(statement).one_or_none()
        if row is None:
            return None
        token, family, account = row
        return AccessToken(
            jti=token.jti,
            scope=token.scope,
            issued_at=token.issued_at,
            expires_at=token.expires_at,
            family=_to_family(family),
            account=None if account is None else to_account(account),
        )

    def _one(self, statement: Select[T]) -> T | None:
        # A row that this session has seen before is read again: that is the point of looking under a lock.
        return self._session.execute(statement, execution_options={"populate_existing": True}).scalar_one_or_none()

    def _add(self, row: object) -> None:
        self._session.add(row)
        self._session.flush()


def _to_family(row: FamilyRow) -> Family:
    return Family(
        id=row.id,
        client_id=row.client_id,
        account_id=row.account_id,
        scope=row.scope,
        audiences=tuple(row.audiences),
        authenticated_at=row.authenticated_at,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
    )
