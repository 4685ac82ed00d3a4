"""ID tokens (OpenID Connect Core section 2)."""

from __future__ import annotations

from typing import Any

from authlib.oidc.core.grants import OpenIDCode
from joserfc.jwk import ECKey

from passport.domain.accounts import Account
from passport.domain.claims import user_claims
from passport.domain.clients import Client
from passport.services.keys import ALGORITHM
from passport.services.oauth.requests import ParsedRequest
from passport.services.oauth.server import PassportServer


class IdTokens(OpenIDCode):  # type: ignore[misc]
    """Adds an ID token to answers of the code and the refresh grant when the scope has `openid`."""

    def __init__(self, server: PassportServer) -> None:
        super().__init__(require_nonce=False)
        self._server = server

    def exists_nonce(self, _nonce: str, _request: ParsedRequest) -> bool:
        """A nonce binds the ID token to the session at the client, which compares it; a code works once as it is."""
        return False

    def get_client_algorithm(self, _client: Client) -> str:
        return ALGORITHM

    def get_encode_header(self, _client: Client) -> dict[str, Any]:
        return {"alg": ALGORITHM, "kid": self._server.ring.signing.kid}

    def resolve_client_private_key(self, _client: Client) -> ECKey:
        return self._server.ring.signing

    def get_client_claims(self, client: Client) -> dict[str, Any]:
        now = int(self._server.now.timestamp())
        claims: dict[str, Any] = {
            "iss": self._server.policy.issuer,
            "aud": client.client_id,
            "iat": now,
            "exp": now + int(self._server.policy.id_token.total_seconds()),
        }
        minted = self._server.mint.minted
        if minted and minted.access.family.authenticated_at:
            claims["auth_time"] = int(minted.access.family.authenticated_at.timestamp())
        return claims

    def generate_user_info(self, user: Account, scope: str) -> dict[str, object]:
        return user_claims(user, scope.split(), legacy=self._server.request.client.legacy_claims)
