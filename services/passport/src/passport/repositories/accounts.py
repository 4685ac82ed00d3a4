"""Accounts, the bootstrap code and browser sessions."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, exists, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from passport.domain.accounts import Account, BrowserSession, Credentials, NewAccount
from passport.domain.errors import AccountExistsError, AccountNotFoundError
from passport.schema import AccountRow, BootstrapCodeRow, SessionRow


class Accounts:
    """Accounts within the transaction of `session`. Usernames are compared without regard to case."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, new: NewAccount, *, password_hash: str | None, now: datetime) -> Account:
        """Store an active account.

        Raises:
            AccountExistsError: the username or the e-mail address is taken.
        """
        row = AccountRow(
            username=new.username,
            email=new.email,
            first_name=new.first_name,
            last_name=new.last_name,
            password_hash=password_hash,
            is_active=True,
            is_staff=new.is_staff,
            is_superuser=new.is_superuser,
            created_at=now,
            last_login_at=None,
        )
        try:
            async with self._session.begin_nested():
                self._session.add(row)
        except IntegrityError:
            raise AccountExistsError(f"The username {new.username} or its e-mail address is already taken.") from None
        return to_account(row)

    async def lock(self) -> None:
        """Let nobody else add or change an account before this transaction ends."""
        await self._session.execute(text("LOCK TABLE accounts IN SHARE ROW EXCLUSIVE MODE"))

    async def is_empty(self) -> bool:
        """Whether there is no account at all."""
        return not (await self._session.execute(select(exists(select(AccountRow.id))))).scalar_one()

    async def get(self, username: str) -> Credentials:
        """The account of that name.

        Raises:
            AccountNotFoundError: there is none.
        """
        found = await self.find(username)
        if found is None:
            raise AccountNotFoundError(f"There is no account with the username {username}.", field="username")
        return found

    async def find(self, username: str) -> Credentials | None:
        """The account of that name with its password hash."""
        statement = select(AccountRow).where(func.lower(AccountRow.username) == func.lower(username))
        row = (await self._session.execute(statement)).scalar_one_or_none()
        return None if row is None else Credentials(to_account(row), row.password_hash)

    async def set_password(self, account_id: int, password_hash: str) -> None:
        """Store another hash."""
        await self._update(account_id, password_hash=password_hash)

    async def replace_hash(self, account_id: int, *, old: str, new: str) -> None:
        """Store another hash of the same password, unless the password was changed meanwhile."""
        statement = update(AccountRow).where(AccountRow.id == account_id, AccountRow.password_hash == old)
        await self._session.execute(statement.values(password_hash=new))

    async def record_login(self, account_id: int, now: datetime) -> None:
        """Remember when the account was last used."""
        await self._update(account_id, last_login_at=now)

    async def _update(self, account_id: int, **values: object) -> None:
        await self._session.execute(update(AccountRow).where(AccountRow.id == account_id).values(**values))


class BootstrapCodes:
    """The bootstrap code, if there is one, within the transaction of `session`; to change it, lock the accounts."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def find(self) -> bytes | None:
        """The digest of the code."""
        return (await self._session.execute(select(BootstrapCodeRow.digest))).scalar_one_or_none()

    async def put(self, digest: bytes, *, now: datetime) -> None:
        """Store a code in place of the one before."""
        values = {"digest": digest, "created_at": now}
        statement = insert(BootstrapCodeRow).values(id=1, **values)
        await self._session.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))

    async def delete(self) -> None:
        """There is no code any more."""
        await self._session.execute(delete(BootstrapCodeRow))


class Sessions:
    """Browser sessions within the transaction of `session`."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(self, digest: bytes, *, account_id: int, now: datetime, expires_at: datetime) -> None:
        """Store a session that begins now."""
        self._session.add(SessionRow(digest=digest, account_id=account_id, authenticated_at=now, expires_at=expires_at))
        await self._session.flush()

    async def find(self, digest: bytes, now: datetime) -> BrowserSession | None:
        """The session, unless it has expired or its account is not active."""
        statement = (
            select(SessionRow, AccountRow)
            .join(AccountRow, AccountRow.id == SessionRow.account_id)
            .where(SessionRow.digest == digest, SessionRow.expires_at > now, AccountRow.is_active)
        )
        row = (await self._session.execute(statement)).one_or_none()
        return None if row is None else BrowserSession(to_account(row[1]), row[0].authenticated_at)

    async def delete(self, digest: bytes) -> None:
        """End one session."""
        await self._session.execute(delete(SessionRow).where(SessionRow.digest == digest))

    async def delete_all(self, account_id: int) -> None:
        """End all sessions of an account."""
        await self._session.execute(delete(SessionRow).where(SessionRow.account_id == account_id))


def to_account(row: AccountRow) -> Account:
    """The account in a row."""
    return Account(
        id=row.id,
        username=row.username,
        email=row.email,
        first_name=row.first_name,
        last_name=row.last_name,
        is_active=row.is_active,
        is_staff=row.is_staff,
        is_superuser=row.is_superuser,
    )
