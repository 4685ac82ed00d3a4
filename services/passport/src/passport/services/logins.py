"""Logging in with a password: checked, counted, and remembered as a browser session."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from passport.domain.accounts import PASSWORD_MAX, USERNAME_MAX, Account, BrowserSession
from passport.domain.errors import InvalidCredentialsError, TooManyAttemptsError
from passport.domain.secrets import digest, new_secret
from passport.domain.throttle import address_group
from passport.repositories.accounts import Accounts, Sessions
from passport.services.passwords import Passwords
from passport.services.throttle import Throttle
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

_SESSION_SECRET_MAX: Final = 128
log = get_logger(__name__)


class Logins:
    """Passwords and browser sessions. No transaction is open while a password is checked."""

    def __init__(
        self,
        database: Database,
        *,
        passwords: Passwords,
        throttle: Throttle,
        session_lifetime: timedelta,
        clock: Clock,
    ) -> None:
        self._database = database
        self._passwords = passwords
        self._throttle = throttle
        self._session_lifetime = session_lifetime
        self._clock = clock

    async def authenticate(self, username: str, password: str, *, address: str | None) -> Account:
        """The active account of that name and password.

        Raises:
            InvalidCredentialsError: there is none; which of the two is wrong is not told.
            TooManyAttemptsError: the account or the address has failed too often.
        """
        if not 0 < len(username) <= USERNAME_MAX or not 0 < len(password) <= PASSWORD_MAX:
            raise InvalidCredentialsError
        try:
            await self._throttle.take(username=username, address=address)
        except TooManyAttemptsError:
            log.warning("login_throttled", address=address)
            raise
        account = await self._check(username, password, address)
        await self._throttle.give_back(username=username, address=address)
        return account

    async def count_registration(self, *, address: str | None) -> None:
        """Count a new account from that address, as the failure of an account that no username can be.

        Raises:
            TooManyAttemptsError: too many were made from there.
        """
        await self._throttle.take(username=f"registration from {address_group(address or '')}", address=address)

    async def sign_in(self, account: Account, *, replaces: str | None) -> str:
        """Begin a browser session and return its secret; one that the browser had before ends."""
        now = self._clock.now()
        secret = new_secret()
        async with self._database.transaction() as session:
            sessions = Sessions(session)
            if replaces:
                await sessions.delete(digest(replaces))
            expires_at = now + self._session_lifetime
            await sessions.add(digest(secret), account_id=account.id, now=now, expires_at=expires_at)
        return secret

    async def find_session(self, secret: str | None) -> BrowserSession | None:
        """Who is signed in with that secret."""
        if not secret or len(secret) > _SESSION_SECRET_MAX:
            return None
        async with self._database.session() as session:
            return await Sessions(session).find(digest(secret), self._clock.now())

    async def sign_out(self, secret: str) -> None:
        """End a browser session."""
        async with self._database.transaction() as session:
            await Sessions(session).delete(digest(secret))

    async def _check(self, username: str, password: str, address: str | None) -> Account:
        async with self._database.session() as session:
            found = await Accounts(session).find(username)
        verdict = await self._passwords.check(found.password_hash if found else None, password)
        if found is None or not verdict.is_right or not found.account.is_active:
            log.info("login_failed", account_id=found.account.id if found else None, address=address)
            raise InvalidCredentialsError
        new_hash = await self._passwords.hash(password) if verdict.is_outdated else None
        async with self._database.transaction() as session:
            accounts = Accounts(session)
            await accounts.record_login(found.account.id, self._clock.now())
            if new_hash is not None and found.password_hash is not None:
                await accounts.replace_hash(found.account.id, old=found.password_hash, new=new_hash)
        log.info("login_succeeded", account_id=found.account.id, address=address)
        return found.account
