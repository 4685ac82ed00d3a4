"""Makes tokens and stores what must be known of them afterwards."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import uuid4

from authlib.oauth2.rfc6749 import InvalidScopeError

from passport.domain.accounts import Account
from passport.domain.clients import Client
from passport.domain.secrets import digest, new_secret
from passport.domain.tokens import AccessToken, Family
from passport.repositories.grants import Grants
from passport.services.keys import KeyRing
from passport.services.oauth.errors import InvalidTargetError
from passport.services.oauth.requests import ParsedRequest

REFRESH_PREFIX = "wfr_"


@dataclass(frozen=True)
class Policy:
    """Who we are and how long things live."""

    issuer: str
    access_token: timedelta
    id_token: timedelta
    code: timedelta
    refresh_token: timedelta
    authorization: timedelta


@dataclass(frozen=True)
class Minted:
    """Tokens that were made and are still to be stored."""

    access: AccessToken
    is_new_family: bool
    refresh_secret: str | None


class Mint:
    """Makes the tokens of one request."""

    def __init__(self, grants: Grants, ring: KeyRing, policy: Policy, now: datetime) -> None:
        self._grants = grants
        self._ring = ring
        self._policy = policy
        self._now = now.replace(microsecond=0)
        self.minted: Minted | None = None

    def make(
        self,
        *,
        request: ParsedRequest,
        grant_type: str,
        client: Client,
        user: Account | None,
        scope: str | None,
        with_refresh_token: bool,
    ) -> dict[str, object]:
        """The body of a token response (RFC 6749 section 5.1).

        Raises:
            InvalidScopeError: the client may not have this scope.
            InvalidTargetError: the client may not have tokens for this audience.
        """
        allowed = _allowed_scope(client, grant_type, scope)
        with_refresh_token = with_refresh_token and user is not None and client.check_grant_type("refresh_token")
        known = request.refresh_token
        family = known.family if known else self._new_family(request, client, user, allowed, with_refresh_token)
        expires_at = min(self._now + self._policy.access_token, family.expires_at)
        access = AccessToken(new_secret(), allowed, self._now, expires_at, family, user)
        secret = new_secret(REFRESH_PREFIX) if with_refresh_token else None
        self.minted = Minted(access, is_new_family=known is None, refresh_secret=secret)
        body: dict[str, object] = {
            "access_token": self._sign(access, client),
            "token_type": "Bearer",
            "expires_in": int((expires_at - self._now).total_seconds()),
            "scope": allowed,
        }
        return body if secret is None else body | {"refresh_token": secret}

    def store(self) -> None:
        """Store what was made: the refresh token as a digest, the access token by its id."""
        if self.minted is None:
            raise RuntimeError("nothing was made")
        family = self.minted.access.family
        if self.minted.is_new_family:
            self._grants.add_family(family)
        self._grants.add_access_token(self.minted.access)
        if self.minted.refresh_secret is not None:
            expires_at = min(self._now + self._policy.refresh_token, family.expires_at)
            self._grants.add_refresh_token(
                digest(self.minted.refresh_secret), family_id=family.id, now=self._now, expires_at=expires_at
            )

    def _new_family(
        self, request: ParsedRequest, client: Client, user: Account | None, scope: str, is_renewable: bool
    ) -> Family:
        audiences = client.audiences_for(request.audiences)
        if audiences is None:
            raise InvalidTargetError
        code = request.authorization_code
        authenticated_at = code.authenticated_at if code else self._now
        return Family(
            id=uuid4(),
            client_id=client.client_id,
            account_id=user.id if user else None,
            scope=scope,
            audiences=audiences,
            authenticated_at=authenticated_at if user else None,
            created_at=self._now,
            expires_at=self._now + (self._policy.authorization if is_renewable else self._policy.access_token),
        )

    def _sign(self, token: AccessToken, client: Client) -> str:
        """The JWT access token of RFC 9068."""
        claims: dict[str, object] = {
            "iss": self._policy.issuer,
            "sub": str(token.account.id) if token.account else client.client_id,
            "aud": list(token.family.audiences),
            "client_id": client.client_id,
            "scope": token.scope,
            "exp": int(token.expires_at.timestamp()),
            "iat": int(token.issued_at.timestamp()),
            "jti": token.jti,
        }
        if token.account:
            claims["username"] = token.account.username
        return self._ring.sign(claims, typ="at+jwt")


def _allowed_scope(client: Client, grant_type: str, scope: str | None) -> str:
    if grant_type == "client_credentials":
        allowed = client.service_scope(scope)
    elif grant_type == "refresh_token" and not scope:
        allowed = ""  # what had no scope does not get the default one by being refreshed
    else:
        allowed = client.get_allowed_scope(scope)
    if allowed is None:
        raise InvalidScopeError
    return allowed
