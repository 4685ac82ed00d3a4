"""Who asks: client tokens and passport's access tokens become callers."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import ClassVar, Final

from controller.domain.accounts import Account
from controller.passport_client import GrantEndedError, PassportClient
from controller.repositories.accounts import SignedIn, TokenRepository, UserRepository
from controller.services.accounts import SIGN_INS_CHANNEL, Accounts, digest
from controller.services.confirmation import Confirmations, UnitOfWork
from shared.auth import Claims, InvalidTokenError, TokenVerifier
from shared.clock import Clock
from shared.db import Database
from shared.errors import UnauthenticatedError

CACHE_TIME: Final = timedelta(seconds=30)
MAX_CACHED: Final = 10_000


class InactiveUserError(UnauthenticatedError):
    """The account is closed at passport."""

    code: ClassVar[str] = "inactive-user"

    def __init__(self) -> None:
        super().__init__("User inactive or deleted.")


@dataclass(frozen=True)
class Caller:
    """Who makes a request: a person, or a service with its scopes."""

    account: Account | None = None
    service: str | None = None
    scopes: frozenset[str] = field(default_factory=frozenset)


@dataclass(frozen=True)
class _Cached:
    signed_in: SignedIn
    until: datetime


class Authenticator:
    """Turns credentials into callers: one query for a token, none while it is in the cache (30 s)."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWork,
        database: Database,
        passport: PassportClient,
        verifier: TokenVerifier,
        clock: Clock,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._database = database
        self._passport = passport
        self._verifier = verifier
        self._clock = clock
        self._confirmations = Confirmations(
            unit_of_work=unit_of_work, database=database, passport=passport, clock=clock
        )
        self._cache: OrderedDict[bytes, _Cached] = OrderedDict()
        self._forgotten = 0

    async def close(self) -> None:
        """End what runs in the background."""
        await self._confirmations.close()

    def forget_token(self, token_digest: bytes) -> None:
        """Ask the database for this token the next time."""
        self._forgotten += 1
        self._cache.pop(token_digest, None)

    def forget_user(self, user_id: int) -> None:
        """Ask the database for this person's tokens the next time."""
        self._forgotten += 1
        for key in [key for key, cached in self._cache.items() if cached.signed_in.account.id == user_id]:
            del self._cache[key]

    async def listen(self) -> None:
        """Forget everybody whenever a process tells that somebody may be out, and whenever that may have been missed.

        Endless; each process that answers requests runs it in the background. Whatever is forgotten costs a query.
        """
        async with self._database.listen(SIGN_INS_CHANNEL) as notified:
            async for _ in notified:
                self._forgotten += 1
                self._cache.clear()

    async def token(self, text: str) -> Caller:
        """The owner of a client token.

        Raises:
            UnauthenticatedError: there is no such token, its login is over, or its owner's account is closed.
            UnavailableError: passport was away for too long.
        """
        key = digest(text)
        signed_in = await self._signed_in(key)
        try:
            account = await self._confirmations.confirm(signed_in)
        except GrantEndedError:
            self.forget_token(key)
            raise UnauthenticatedError("Invalid token.") from None
        if account != signed_in.account:
            self.forget_user(account.id)
        if not account.is_active:
            raise InactiveUserError
        return Caller(account=account)

    async def bearer(self, text: str) -> Caller:
        """The person or service behind an access token of passport that is meant for us.

        Raises:
            UnauthenticatedError: it does not verify, or the account is closed.
        """
        try:
            claims = await self._verifier.verify(text)
        except InvalidTokenError:
            raise UnauthenticatedError("Verify token fail.") from None
        if claims.username is None:
            return Caller(service=claims.client_id, scopes=claims.scopes)
        account = await self._person(claims, text)
        if not account.is_active:
            raise InactiveUserError
        return Caller(account=account, scopes=claims.scopes)

    async def _signed_in(self, key: bytes) -> SignedIn:
        now = self._clock.now()
        cached = self._cache.get(key)
        if cached is not None and cached.until > now:
            return cached.signed_in
        forgotten = self._forgotten
        async with self._database.transaction() as session:
            signed_in = await TokenRepository(session).find(key, now=now)
        if signed_in is None:
            self.forget_token(key)
            raise UnauthenticatedError("Invalid token.")
        if forgotten != self._forgotten:
            return signed_in  # it may be this one that was to be forgotten while we asked
        self._cache[key] = _Cached(signed_in, now + CACHE_TIME)
        if len(self._cache) > MAX_CACHED:
            self._cache.popitem(last=False)
        return signed_in

    async def _person(self, claims: Claims, access_token: str) -> Account:
        if not (claims.subject.isascii() and claims.subject.isdigit() and len(claims.subject) < 19):
            raise UnauthenticatedError("Verify token fail.")  # people have numbers
        async with self._database.session() as session:
            account = await UserRepository(session).get(int(claims.subject))
        if account is not None:
            return account
        try:
            profile = await self._passport.userinfo(access_token)
        except GrantEndedError:
            raise UnauthenticatedError("Verify token fail.") from None
        async with self._unit_of_work() as uow:
            return await Accounts(uow).store(profile, signed_in=True)
