"""SQL of people, their tokens and keys."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, Select, and_, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from controller.domain.accounts import AccessToken, Account, Key, Profile
from controller.schema.accounts import KeyRow, TokenRow, UserRow
from controller.schema.base import table_of
from shared.db import DbSession

LAST_USED_STEP = timedelta(minutes=5)


@dataclass(frozen=True)
class SignedIn:
    """The owner of a token, and the token. `is_backed`: a login at passport stands behind it that can be asked."""

    account: Account
    token: UUID
    is_backed: bool


@dataclass(frozen=True)
class DeletedToken:
    """What is left of a token when it is gone: by this its copies elsewhere are ended."""

    digest: bytes
    sealed_refresh_token: str | None


_USERS = table_of(UserRow)


class UserRepository:
    """People by passport's number for them."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def get(self, user_id: int) -> Account | None:
        """The person, if known."""
        return await self._one(select(_USERS).where(_USERS.c.id == user_id))

    async def find(self, username: str) -> Account | None:
        """The person of that name, if known."""
        return await self._one(select(_USERS).where(_USERS.c.username == username))

    async def upsert(self, profile: Profile, *, now: datetime, signed_in: bool) -> Account:
        """Store what passport says. `signed_in` counts as a login."""
        await self._free_username(profile)
        facts: dict[str, Any] = {
            "username": profile.username,
            "email": profile.email,
            "first_name": profile.first_name,
            "last_name": profile.last_name,
            "is_active": profile.is_active,
            "is_staff": profile.is_staff,
            "is_superuser": profile.is_superuser,
            "confirmed_at": now,
        }
        if signed_in:
            facts |= {"last_login": now, "disabled_at": None}
        statement = (
            insert(_USERS)
            .values(id=profile.id, date_joined=now, **facts)
            .on_conflict_do_update(index_elements=[_USERS.c.id], set_=facts)
            .returning(*_USERS.c)
        )
        return account_of((await self._session.execute(statement)).one())

    async def list_all(self, *, limit: int, offset: int) -> tuple[list[Account], int]:
        """A page of all people by name, and how many there are."""
        query = select(_USERS).order_by(_USERS.c.username)
        rows, total = await _page(self._session, query, limit=limit, offset=offset)
        return [account_of(row) for row in rows], total

    async def set_disabled(self, user_id: int, at: datetime | None) -> bool:
        """Shut a person out, or let them in again (None); whether that changed anything."""
        differs = _USERS.c.disabled_at.is_(None) if at is not None else _USERS.c.disabled_at.is_not(None)
        statement = update(_USERS).where(_USERS.c.id == user_id, differs).values(disabled_at=at)
        return (await self._session.execute(statement.returning(_USERS.c.id))).one_or_none() is not None

    async def _one(self, query: Select[Any]) -> Account | None:
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else account_of(row)

    async def _free_username(self, profile: Profile) -> None:
        # Names are unique at passport. A row that still holds this one belongs to somebody who was renamed there and
        # whose change has not come here yet.
        await self._session.execute(
            update(UserRow)
            .where(UserRow.username == profile.username, UserRow.id != profile.id)
            .values(username=func.concat(UserRow.username, "~", UserRow.id))
        )


class TokenRepository:
    """Access tokens by digest or by owner."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def find(self, digest: bytes, *, now: datetime) -> SignedIn | None:
        """Who owns the token with that digest; notes its use, at most every five minutes. One query."""
        stale = or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at < now - LAST_USED_STEP)
        touch = (
            update(TokenRow)
            .where(TokenRow.digest == digest, stale)
            .values(last_used_at=now)
            .returning(TokenRow.uuid)
            .cte("touch")
        )
        statement = (
            select(*_USERS.c, TokenRow.uuid, TokenRow.sealed_refresh_token.is_not(None).label("renews"))
            .join(TokenRow, TokenRow.owner_id == _USERS.c.id)
            .where(TokenRow.digest == digest)
            .add_cte(touch)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return None if row is None else SignedIn(account_of(row), row.uuid, bool(row.renews))

    async def insert(self, values: Mapping[str, Any]) -> UUID:
        """Store a new token; its id."""
        return (await self._session.execute(insert(TokenRow).values(**values).returning(TokenRow.uuid))).scalar_one()

    async def list_of(self, owner_id: int, *, limit: int, offset: int) -> tuple[list[AccessToken], int]:
        """A page of the owner's tokens, oldest first, and how many there are."""
        query = select(*table_of(TokenRow).c, UserRow.username).join(UserRow, UserRow.id == TokenRow.owner_id)
        query = query.where(TokenRow.owner_id == owner_id).order_by(TokenRow.created, TokenRow.uuid)
        rows, total = await _page(self._session, query, limit=limit, offset=offset)
        return [_token_of(row) for row in rows], total

    async def delete(self, owner_id: int, uuid: UUID) -> DeletedToken | None:
        """Remove one of the owner's tokens; None when there is none of that id."""
        statement = (
            delete(TokenRow)
            .where(TokenRow.uuid == uuid, TokenRow.owner_id == owner_id)
            .returning(TokenRow.digest, TokenRow.sealed_refresh_token)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return DeletedToken(row[0], row[1]) if row else None

    async def refresh_token(self, uuid: UUID) -> str | None:
        """The sealed refresh token behind an access token."""
        return await self._session.scalar(select(TokenRow.sealed_refresh_token).where(TokenRow.uuid == uuid))

    async def set_refresh_token(self, uuid: UUID, sealed: str | None, *, now: datetime) -> None:
        """Replace it after a rotation."""
        values = {"sealed_refresh_token": sealed, "updated": now}
        await self._session.execute(update(TokenRow).where(TokenRow.uuid == uuid).values(values))


class KeyRepository:
    """SSH keys by owner or fingerprint."""

    def __init__(self, session: DbSession) -> None:
        self._session = session

    async def insert(self, values: Mapping[str, Any]) -> UUID | None:
        """Store a key; None when its name (of that owner) or its fingerprint is taken."""
        statement = insert(KeyRow).values(**values).on_conflict_do_nothing().returning(KeyRow.uuid)
        return (await self._session.execute(statement)).scalar_one_or_none()

    async def is_public_taken(self, sha256: str) -> bool:
        """Whether anybody has that key."""
        return bool(await self._session.scalar(select(KeyRow.uuid).where(KeyRow.sha256 == sha256)))

    async def list_of(self, owner_id: int, *, limit: int, offset: int) -> tuple[list[Key], int]:
        """A page of the owner's keys, ordered by their text, and how many there are."""
        query = _keys().where(KeyRow.owner_id == owner_id).order_by(KeyRow.public, KeyRow.uuid)
        rows, total = await _page(self._session, query, limit=limit, offset=offset)
        return [_key_of(row) for row in rows], total

    async def find(self, owner_id: int, name: str) -> Key | None:
        """One key of an owner."""
        query = _keys().where(KeyRow.owner_id == owner_id, KeyRow.name == name)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else _key_of(row)

    async def delete(self, owner_id: int, name: str) -> bool:
        """Remove one key of an owner; whether there was one."""
        statement = delete(KeyRow).where(KeyRow.owner_id == owner_id, KeyRow.name == name).returning(KeyRow.uuid)
        return (await self._session.execute(statement)).scalar_one_or_none() is not None

    async def owner_of(self, fingerprint: str) -> Account | None:
        """Whose key has that fingerprint, in either form."""
        match = or_(KeyRow.sha256 == fingerprint, KeyRow.fingerprint == fingerprint)
        query = select(_USERS).join(KeyRow, KeyRow.owner_id == _USERS.c.id).where(match)
        row = (await self._session.execute(query)).one_or_none()
        return None if row is None else account_of(row)

    async def list_of_users(self, user_ids: list[int]) -> list[Key]:
        """All keys of those of these people whose account is not closed, by name of the owner."""
        is_open = and_(UserRow.is_active, UserRow.disabled_at.is_(None))
        query = _keys().where(KeyRow.owner_id.in_(user_ids), is_open).order_by(UserRow.username, KeyRow.public)
        return [_key_of(row) for row in await self._session.execute(query)]


def account_of(row: Any) -> Account:
    """The person in a row that has the columns of `UserRow`."""
    return Account(
        id=row.id,
        username=row.username,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        is_active=row.is_active and row.disabled_at is None,
        is_staff=row.is_staff,
        is_superuser=row.is_superuser,
        last_login=row.last_login,
        date_joined=row.date_joined,
        confirmed_at=row.confirmed_at,
    )


def _token_of(row: Any) -> AccessToken:
    return AccessToken(row.uuid, row.username, row.alias, row.fuzzy_key, row.created, row.updated, row.last_used_at)


def _key_of(row: Any) -> Key:
    return Key(row.uuid, row.username, row.name, row.public, row.fingerprint, row.sha256, row.created, row.updated)


def _keys() -> Select[Any]:
    return select(*table_of(KeyRow).c, UserRow.username).join(UserRow, UserRow.id == KeyRow.owner_id)


async def _page(
    session: DbSession, query: Select[*tuple[Any, ...]], *, limit: int, offset: int
) -> tuple[list[Row[*tuple[Any, ...]]], int]:
    """The rows of a page and the count of all; one query unless the page is empty."""
    counted = query.add_columns(func.count().over()).limit(limit).offset(offset)
    rows = list((await session.execute(counted)).all())
    if rows or offset == 0:
        return rows, int(rows[0][-1]) if rows else 0
    total = await session.scalar(select(func.count()).select_from(query.order_by(None).subquery()))
    return rows, int(total or 0)
