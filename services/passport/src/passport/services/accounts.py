"""Making accounts and setting passwords."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from sqlalchemy.ext.asyncio import AsyncSession

from passport.domain.accounts import Account, NewAccount, check_password
from passport.repositories.accounts import Accounts, BootstrapCodes, Sessions
from passport.repositories.families import revoke_families_of
from passport.schema import outbox
from passport.services.passwords import Passwords
from shared.clock import Clock
from shared.db import Database
from shared.events.users import UserChanged
from shared.logging import get_logger
from shared.outbox import Outbox

Check = Callable[[AsyncSession], Awaitable[None]]
SOURCE = "/services/passport"
log = get_logger(__name__)


class AccountService:
    """Use cases around accounts; each is one transaction."""

    def __init__(self, database: Database, *, passwords: Passwords, clock: Clock) -> None:
        self._database = database
        self._passwords = passwords
        self._clock = clock

    async def create(self, new: NewAccount, *, password: str) -> Account:
        """Make an active account.

        Raises:
            InvalidAccountError: the password is not good enough.
            AccountExistsError: the username or the e-mail address is taken.
        """
        password_hash = await self._hash(password, username=new.username, email=new.email)
        async with self._database.transaction() as session:
            return await self._add(session, new, password_hash)

    async def create_first_administrator(
        self, username: str, *, email: str, password: str, check: Check | None = None
    ) -> Account | None:
        """Make an administrator if nobody has an account yet; None, and nothing changes, if somebody has.

        Raises:
            InvalidAccountError: the values are not good enough.
            Exception: whatever `check` raises, in the transaction that would make the account and once before it.
        """
        async with self._database.session() as session:
            if not await Accounts(session).is_empty():
                return None
            if check is not None:
                await check(session)
        new = NewAccount(username, email, is_staff=True, is_superuser=True)
        password_hash = await self._hash(password, username=username, email=email)
        async with self._database.transaction() as session:
            # Hashing is slow and not done under the lock: look again, another process may have been quicker.
            await Accounts(session).lock()
            if not await Accounts(session).is_empty():
                return None
            if check is not None:
                await check(session)
            return await self._add(session, new, password_hash)

    async def set_password(self, username: str, password: str) -> Account:
        """Give an account another password; its sessions and tokens end, as they may be in wrong hands.

        Raises:
            AccountNotFoundError: nobody has that username.
            InvalidAccountError: the password is not good enough.
        """
        async with self._database.session() as session:
            account = (await Accounts(session).get(username)).account
        password_hash = await self._hash(password, username=account.username, email=account.email)
        now = self._clock.now()
        async with self._database.transaction() as session:
            await Accounts(session).set_password(account.id, password_hash)
            await Sessions(session).delete_all(account.id)
            await revoke_families_of(session, account.id, because="password-changed", now=now)
        log.info("password_changed", account_id=account.id)
        return account

    async def _hash(self, password: str, *, username: str, email: str) -> str:
        check_password(password, username=username, email=email)
        return await self._passwords.hash(password)

    async def _add(self, session: AsyncSession, new: NewAccount, password_hash: str) -> Account:
        now: datetime = self._clock.now()
        account = await Accounts(session).add(new, password_hash=password_hash, now=now)
        await BootstrapCodes(session).delete()
        await Outbox(session, outbox, source=SOURCE).add(user_changed(account))
        log.info("account_created", account_id=account.id, username=account.username)
        return account


def user_changed(account: Account) -> UserChanged:
    """The event that tells other components what an account is like now."""
    return UserChanged(
        user_id=account.id,
        username=account.username,
        email=account.email,
        first_name=account.first_name,
        last_name=account.last_name,
        is_active=account.is_active,
        is_staff=account.is_staff,
        is_superuser=account.is_superuser,
    )
