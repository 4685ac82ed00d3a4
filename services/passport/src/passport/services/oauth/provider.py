"""The protocol as coroutines: each call is one transaction, committed unless the answer is an error."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

from authlib.oauth2.rfc6749 import OAuth2Error
from sqlalchemy.orm import Session

from passport.domain.accounts import Account, BrowserSession
from passport.domain.clients import Client
from passport.domain.tokens import AccessToken
from passport.repositories.clients import Clients
from passport.repositories.grants import Grants
from passport.services.keys import KeyStore
from passport.services.logins import Logins
from passport.services.oauth.endpoints import Introspection, Revocation, find_access_token
from passport.services.oauth.errors import ConsentRequiredError, LoginRequiredError
from passport.services.oauth.grants import CodeGrant, PasswordGrant, RefreshGrant, ServiceGrant, StrictPKCE
from passport.services.oauth.issuing import Policy
from passport.services.oauth.openid import IdTokens
from passport.services.oauth.requests import OAuthResult, ParsedRequest
from passport.services.oauth.server import PassportServer
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

T = TypeVar("T")
log = get_logger(__name__)


@dataclass(frozen=True)
class LoginNeeded:
    """The request is sound; somebody has to log in first."""


@dataclass(frozen=True)
class ConsentNeeded:
    """The request is sound; the person has to be asked."""

    client_name: str
    scopes: tuple[str, ...]
    redirect_uri: str


class Provider:
    """OAuth 2.1 and OpenID Connect on our database."""

    def __init__(self, database: Database, *, keys: KeyStore, logins: Logins, policy: Policy, clock: Clock) -> None:
        self._database = database
        self._keys = keys
        self._logins = logins
        self._policy = policy
        self._clock = clock

    async def token(self, request: ParsedRequest) -> OAuthResult:
        """Answer the token endpoint."""
        result = await self._run(request, lambda server: _guarded(server, server.create_token_response))
        client_id = request.client.client_id if request.client else None
        facts = {"client_id": client_id, "grant_type": request.payload.grant_type}
        if result.is_error and isinstance(result.body, dict):
            log.info("token_refused", error=result.body.get("error"), **facts)
        else:
            log.info("token_issued", account_id=request.user.id if request.user else None, **facts)
        return result

    async def revoke(self, request: ParsedRequest) -> OAuthResult:
        """Answer the revocation endpoint."""
        return await self._run(request, lambda server: _endpoint(server, "revocation"))

    async def introspect(self, request: ParsedRequest) -> OAuthResult:
        """Answer the introspection endpoint."""
        return await self._run(request, lambda server: _endpoint(server, "introspection"))

    async def find_access_token(self, token: str) -> AccessToken | None:
        """The access token of ours that `token` is, if it may be used now."""
        request = ParsedRequest("GET", "/oauth/userinfo/", parameters=(), headers={})

        def look(server: PassportServer) -> AccessToken | None:
            found = find_access_token(server, token)
            return found if found and found.is_active(server.now) else None

        return await self._run(request, look)

    async def find_client(self, client_id: str) -> Client | None:
        """The registered client of that id."""
        async with self._database.session() as session:
            return await Clients(session).find(client_id)

    async def authorize(
        self, request: ParsedRequest, browser: BrowserSession | None
    ) -> OAuthResult | LoginNeeded | ConsentNeeded:
        """Check an authorization request, and answer it if that needs nobody's decision."""

        def work(server: PassportServer) -> OAuthResult | LoginNeeded | ConsentNeeded:
            grant = _consent_grant(server, request, browser)
            if isinstance(grant, OAuthResult):
                return grant
            prompts = (request.payload.data.get("prompt") or "").split()
            is_login_needed = browser is None or "login" in prompts or self._is_too_old(request, browser)
            if is_login_needed and "none" in prompts:
                return _refuse(server, request, LoginRequiredError(redirect_uri=grant.redirect_uri))
            if browser is None or is_login_needed:
                return LoginNeeded()
            client = grant.request.client
            if client.skip_consent and "consent" not in prompts:
                return _respond(server, request, browser.account, grant)
            if "none" in prompts:
                return _refuse(server, request, ConsentRequiredError(redirect_uri=grant.redirect_uri))
            return ConsentNeeded(client.name, tuple((request.scope or "").split()), grant.redirect_uri)

        result = await self._run(request, work)
        return result.with_issuer(self._policy.issuer) if isinstance(result, OAuthResult) else result

    async def decide(self, request: ParsedRequest, browser: BrowserSession, *, is_allowed: bool) -> OAuthResult:
        """Answer an authorization request that the person has allowed or denied."""

        def work(server: PassportServer) -> OAuthResult:
            grant = _consent_grant(server, request, browser)
            if isinstance(grant, OAuthResult):
                return grant
            return _respond(server, request, browser.account if is_allowed else None, grant)

        return (await self._run(request, work)).with_issuer(self._policy.issuer)

    async def _run(self, request: ParsedRequest, work: Callable[[PassportServer], T]) -> T:
        ring = await self._keys.ring()

        def in_bridge(db: Session) -> tuple[T, bool]:
            server = PassportServer(
                request=request,
                grants=Grants(db),
                ring=ring,
                policy=self._policy,
                authenticate=self._authenticate,
                now=self._clock.now(),
            )
            _register(server)
            result = work(server)
            return result, server.keeps_changes or not (isinstance(result, OAuthResult) and result.is_error)

        async with self._database.session() as session:
            result, is_kept = await session.run_sync(in_bridge)
            if is_kept:
                await session.commit()
        return result

    async def _authenticate(self, username: str, password: str, address: str | None) -> Account:
        return await self._logins.authenticate(username, password, address=address)

    def _is_too_old(self, request: ParsedRequest, browser: BrowserSession | None) -> bool:
        """OpenID Connect Core section 3.1.2.1: `max_age`, in seconds since the person gave a password."""
        max_age = request.payload.data.get("max_age", "")
        if browser is None or not (max_age.isascii() and max_age.isdigit() and len(max_age) < 10):
            return False
        return self._clock.now() - browser.authenticated_at > timedelta(seconds=int(max_age))


def _register(server: PassportServer) -> None:
    server.register_grant(CodeGrant, [StrictPKCE(required=True), IdTokens(server)])
    server.register_grant(RefreshGrant, [IdTokens(server)])
    server.register_grant(PasswordGrant)
    server.register_grant(ServiceGrant)
    server.register_endpoint(Introspection)
    server.register_endpoint(Revocation)


def _guarded(server: PassportServer, create: Callable[[ParsedRequest], OAuthResult]) -> OAuthResult:
    try:
        server.request.check_no_repetition()
    except OAuth2Error as error:
        return _refuse(server, server.request, error)
    return create(server.request)


def _endpoint(server: PassportServer, name: str) -> OAuthResult:
    return _guarded(server, lambda request: server.create_endpoint_response(name, request))


def _consent_grant(server: PassportServer, request: ParsedRequest, browser: BrowserSession | None) -> Any:
    """The code grant for a sound request, or the answer to one that is not."""
    request.authenticated_at = browser.authenticated_at if browser else None
    try:
        return server.get_consent_grant(request, end_user=browser.account if browser else None)
    except OAuth2Error as error:
        return _refuse(server, request, error)


def _respond(server: PassportServer, request: ParsedRequest, account: Account | None, grant: Any) -> OAuthResult:
    result: OAuthResult = server.create_authorization_response(request, grant_user=account, grant=grant)
    return result


def _refuse(server: PassportServer, request: ParsedRequest, error: OAuth2Error) -> OAuthResult:
    error.state = error.state or request.payload.state
    if not error.redirect_uri:
        error.state = None
    result: OAuthResult = server.handle_error_response(request, error)
    return result
