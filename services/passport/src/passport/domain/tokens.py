"""Authorization codes and tokens, as far as they are stored: digests, owners, times.

The classes answer the questions of Authlib's `AuthorizationCodeMixin` and `TokenMixin`, whose method names they bear.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from passport.domain.accounts import Account
from passport.domain.clients import Client


@dataclass(frozen=True)
class Code:
    """An authorization code: bound to client, person, redirect URI and PKCE challenge; used once."""

    digest: bytes
    client_id: str
    account_id: int
    redirect_uri: str | None
    scope: str
    nonce: str | None
    code_challenge: str
    authenticated_at: datetime
    expires_at: datetime
    used_at: datetime | None = None
    family_id: UUID | None = None

    code_challenge_method = "S256"

    def get_redirect_uri(self) -> str | None:
        return self.redirect_uri

    def get_scope(self) -> str:
        return self.scope

    def get_nonce(self) -> str | None:
        return self.nonce

    def get_auth_time(self) -> int:
        return int(self.authenticated_at.timestamp())

    def get_acr(self) -> str | None:
        return None

    def get_amr(self) -> list[str]:
        return ["pwd"]


@dataclass(frozen=True)
class Family:
    """All tokens that come from one authorization. Revoking any of them revokes the family.

    No token of it is valid after `expires_at`. `account_id` is None for a client that acts for itself, and so is
    `authenticated_at`: when the person last gave a password for it.
    """

    id: UUID
    client_id: str
    account_id: int | None
    scope: str
    audiences: tuple[str, ...]
    authenticated_at: datetime | None
    created_at: datetime
    expires_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True)
class RefreshToken:
    """A refresh token; `used_at` is set once it was exchanged for its successor."""

    family: Family
    expires_at: datetime
    used_at: datetime | None
    digest: bytes

    def check_client(self, client: Client) -> bool:
        return self.family.client_id == client.client_id

    def get_scope(self) -> str:
        return self.family.scope


@dataclass(frozen=True)
class AccessToken:
    """A JWT access token that we issued, with the state of its family and its account now."""

    jti: str
    scope: str
    issued_at: datetime
    expires_at: datetime
    family: Family
    account: Account | None

    def check_client(self, client: Client) -> bool:
        return self.family.client_id == client.client_id

    def is_active(self, now: datetime) -> bool:
        """Whether it may be used: neither expired nor revoked, and its person's account is active."""
        if self.expires_at <= now or self.family.revoked_at is not None:
            return False
        return self.family.account_id is None or (self.account is not None and self.account.is_active)

    @property
    def scopes(self) -> frozenset[str]:
        return frozenset(self.scope.split())
