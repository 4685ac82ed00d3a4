"""Logging in: with a password through passport, or in the browser with an explicit yes of the person who sits there.

Calls to passport happen between transactions, never inside one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Final

from controller.domain.accounts import LoginAttempt
from controller.passport_client import GrantEndedError, PassportClient, TokenSet
from controller.repositories.logins import LoginRepository
from controller.services.accounts import Accounts, digest
from controller.services.confirmation import UnitOfWork
from controller.services.id_tokens import IdTokens
from controller.uow import Uow
from shared.db import uuid7
from shared.errors import ForbiddenError, NotFoundError, SuiteError

KEEP_EXPIRED: Final = timedelta(hours=1)
HINT_LENGTH: Final = 6
MAX_CLIENT_TEXT: Final = 200


class NoSuchLoginError(NotFoundError):
    """No login under way has that key, or it is over."""

    def __init__(self) -> None:
        super().__init__("This login is not under way (any more). Start again with `drycc login`.")


class LoginRefusedError(ForbiddenError):
    """The browser login did not come to a good end; the detail is for the person in front of it."""

    code: ClassVar[str] = "login-refused"


class PasswordLoginDisabledError(SuiteError):
    """The operator has switched logins with a password on the command line off."""

    code: ClassVar[str] = "password-login-disabled"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Log in with the browser"

    def __init__(self) -> None:
        super().__init__("This platform does not take passwords on the command line: log in without -u and -p.")


@dataclass(frozen=True)
class Origin:
    """Where a login was started from; shown to the person who is asked to allow it."""

    address: str
    client: str


@dataclass(frozen=True)
class Departure:
    """Where the browser goes next, and the secret that it must bring back in a cookie."""

    url: str
    binding: str = field(repr=False)


@dataclass(frozen=True)
class Issued:
    """A client token, told once."""

    token: str = field(repr=False)
    username: str


@dataclass(frozen=True)
class Exchange:
    """What has to fit when the browser comes back (RFC 7636, OpenID Connect Core section 3.1.3.7)."""

    nonce: str = field(repr=False)
    verifier: str = field(repr=False)
    binding: str = field(repr=False)


class Logins:
    """Logins of people, kept in the database so that every process of the API can finish them."""

    def __init__(
        self,
        *,
        unit_of_work: UnitOfWork,
        passport: PassportClient,
        id_tokens: IdTokens,
        public_url: str,
        lifetime: timedelta,
        allow_passwords: bool,
    ) -> None:
        self._unit_of_work = unit_of_work
        self._passport = passport
        self._id_tokens = id_tokens
        self._redirect_uri = f"{public_url}/v2/complete/drycc/"
        self._lifetime = lifetime
        self._allow_passwords = allow_passwords

    async def start_in_browser(self, origin: Origin) -> str:
        """Begin a login that somebody has to allow in a browser; the key that the client polls with."""
        key = secrets.token_hex(32)
        async with self._unit_of_work() as uow:
            await self._store(uow, key, origin, mode="browser", status="pending")
        return key

    async def sign_in(self, username: str, password: str, origin: Origin) -> str:
        """Log in with a password; the key that the client fetches its token with.

        Raises:
            WrongCredentialsError: passport refuses them.
            PasswordLoginDisabledError: the operator does not want this.
        """
        if not self._allow_passwords:
            raise PasswordLoginDisabledError
        tokens = await self._passport.log_in(username, password, address=origin.address)
        profile = await self._passport.userinfo(tokens.access_token)
        key = secrets.token_hex(32)
        async with self._unit_of_work() as uow:
            account = await Accounts(uow).store(profile, signed_in=True)
            granted = {"user_id": account.id, "sealed_refresh_token": _seal_refresh(uow, tokens)}
            await self._store(uow, key, origin, mode="password", status="approved", **granted)
        return key

    async def get(self, key: str) -> LoginAttempt:
        """A browser login that still waits for an answer.

        Raises:
            NoSuchLoginError: there is none with that key.
        """
        async with self._unit_of_work() as uow:
            return await _pending(uow, key)

    async def depart(self, key: str) -> Departure:
        """The person said yes: off to passport.

        Raises:
            NoSuchLoginError: nothing waits under that key.
        """
        state, nonce, verifier, binding = (secrets.token_urlsafe(32) for _ in range(4))
        async with self._unit_of_work() as uow:
            attempt = await _pending(uow, key)
            sealed = uow.cipher.seal([nonce, verifier, binding])
            await LoginRepository(uow.session).move(
                attempt.uuid, now=uow.now(), state_digest=digest(state), sealed_exchange=sealed
            )
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        url = self._passport.authorize_url(
            redirect_uri=self._redirect_uri, state=state, nonce=nonce, challenge=challenge
        )
        return Departure(url, binding)

    async def deny(self, key: str) -> None:
        """The person said no.

        Raises:
            NoSuchLoginError: nothing waits under that key.
        """
        async with self._unit_of_work() as uow:
            attempt = await _pending(uow, key)
            await LoginRepository(uow.session).move(attempt.uuid, now=uow.now(), status="denied")

    async def arrive(self, *, state: str, code: str | None, binding: str | None) -> None:
        """The browser is back from passport with a code, or without one when the person said no there.

        Raises:
            LoginRefusedError: another browser left than came back, or passport does not stand by it.
        """
        attempt, exchange = await self._departed(state)
        if binding is None or not hmac.compare_digest(binding.encode(), exchange.binding.encode()):
            raise LoginRefusedError("This login was started in another browser. Start again with `drycc login`.")
        if code is None:
            await self._finish(attempt, status="denied")
            raise LoginRefusedError("The login was refused at passport. Nobody is logged in.")
        try:
            tokens = await self._passport.exchange(code, verifier=exchange.verifier, redirect_uri=self._redirect_uri)
        except GrantEndedError:
            raise LoginRefusedError("Passport does not accept the answer. Start again with `drycc login`.") from None
        await self._id_tokens.check(tokens.id_token, nonce=exchange.nonce)
        profile = await self._passport.userinfo(tokens.access_token)
        async with self._unit_of_work() as uow:
            account = await Accounts(uow).store(profile, signed_in=True)
            granted = {"user_id": account.id, "sealed_refresh_token": _seal_refresh(uow, tokens)}
            if not await LoginRepository(uow.session).move(attempt.uuid, now=uow.now(), status="approved", **granted):
                raise LoginRefusedError("The login took too long. Start again with `drycc login`.")

    async def poll(self, key: str, *, alias: str) -> Issued | None:
        """The client's token, the first time that the login is found allowed; None when it was refused.

        Raises:
            NoSuchLoginError: not allowed yet, over, or never begun.
        """
        key_digest = digest(key)
        async with self._unit_of_work() as uow:
            logins = LoginRepository(uow.session)
            granted = await logins.consume(key_digest, now=uow.now())
            if granted is None:
                await _require_refusal(uow, key_digest)
                return None
            account, sealed = granted
            token = await Accounts(uow).issue_token(account, alias=alias, sealed_refresh_token=sealed)
            return Issued(token, account.username)

    async def _store(self, uow: Uow, key: str, origin: Origin, **facts: Any) -> None:
        now = uow.now()
        values = {
            "uuid": uuid7(),
            "key_digest": digest(key),
            "hint": key[-HINT_LENGTH:],
            "address": origin.address,
            "client": origin.client[:MAX_CLIENT_TEXT],
            "created": now,
            "expires_at": now + self._lifetime,
            **facts,
        }
        await LoginRepository(uow.session).insert(values, forget_before=now - KEEP_EXPIRED)

    async def _departed(self, state: str) -> tuple[LoginAttempt, Exchange]:
        async with self._unit_of_work() as uow:
            attempt = await LoginRepository(uow.session).find_by_state(digest(state))
            if attempt is None or not _is_open(attempt, uow) or attempt.sealed_exchange is None:
                raise LoginRefusedError("This login is not under way any more. Start again with `drycc login`.")
            opened = uow.cipher.open(attempt.sealed_exchange)
        if not isinstance(opened, list):
            raise LoginRefusedError("This login cannot be finished. Start again with `drycc login`.")
        return attempt, Exchange(*opened)

    async def _finish(self, attempt: LoginAttempt, *, status: str) -> None:
        async with self._unit_of_work() as uow:
            await LoginRepository(uow.session).move(attempt.uuid, now=uow.now(), status=status)


async def _pending(uow: Uow, key: str) -> LoginAttempt:
    attempt = await LoginRepository(uow.session).find(digest(key))
    if attempt is None or not _is_open(attempt, uow):
        raise NoSuchLoginError
    return attempt


async def _require_refusal(uow: Uow, key_digest: bytes) -> None:
    """Return when the person said no or the time ran out in the browser, which clients are told as a failed login."""
    attempt = await LoginRepository(uow.session).find(key_digest)
    if attempt is None or attempt.mode != "browser" or _is_open(attempt, uow) or attempt.status == "approved":
        raise NoSuchLoginError


def _is_open(attempt: LoginAttempt, uow: Uow) -> bool:
    return attempt.status == "pending" and attempt.expires_at > uow.now()


def _seal_refresh(uow: Uow, tokens: TokenSet) -> str | None:
    return uow.cipher.seal(tokens.refresh_token) if tokens.refresh_token else None
