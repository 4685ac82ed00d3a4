"""Revocation (RFC 7009) and introspection (RFC 7662)."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import InvalidRequestError
from authlib.oauth2.rfc7009 import RevocationEndpoint
from authlib.oauth2.rfc7662 import IntrospectionEndpoint

from passport.domain.clients import Client
from passport.domain.secrets import digest
from passport.domain.tokens import AccessToken, RefreshToken
from passport.services.oauth.requests import ParsedRequest
from passport.services.oauth.server import PassportServer


def find_access_token(server: PassportServer, token: str) -> AccessToken | None:
    """The access token of ours that `token` is, unless it has expired; it may have been revoked."""
    claims = server.ring.verify(token, typ="at+jwt", issuer=server.policy.issuer, now=server.now)
    return None if claims is None else server.grants.find_access_token(str(claims["jti"]))


class Introspection(IntrospectionEndpoint):  # type: ignore[misc]
    """Tells whoever owns a token, or is its audience, what it is worth. Others hear that it is not active."""

    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post")
    server: PassportServer

    def check_params(self, request: ParsedRequest, _client: Client) -> None:
        _require_token(request)

    def query_token(self, token_string: str, _token_type_hint: str | None) -> AccessToken | None:
        return find_access_token(self.server, token_string)

    def check_permission(self, token: AccessToken, client: Client, _request: ParsedRequest) -> bool:
        return token.check_client(client) or client.client_id in token.family.audiences

    def create_introspection_payload(self, token: AccessToken | None) -> dict[str, object]:
        if token is None or not token.is_active(self.server.now):
            return {"active": False}
        payload: dict[str, object] = {
            "active": True,
            "scope": token.scope,
            "client_id": token.family.client_id,
            "token_type": "Bearer",
            "exp": int(token.expires_at.timestamp()),
            "iat": int(token.issued_at.timestamp()),
            "sub": str(token.account.id) if token.account else token.family.client_id,
            "aud": list(token.family.audiences),
            "iss": self.server.policy.issuer,
            "jti": token.jti,
        }
        return payload | {"username": token.account.username} if token.account else payload


class Revocation(RevocationEndpoint):  # type: ignore[misc]
    """Revokes the whole family of a token of the client. Any other token is no error, so that nothing is disclosed."""

    CLIENT_AUTH_METHODS = ("client_secret_basic", "client_secret_post", "none")
    server: PassportServer

    def authenticate_token(self, request: ParsedRequest, client: Client) -> AccessToken | RefreshToken | None:
        _require_token(request)
        token: AccessToken | RefreshToken | None = find_access_token(self.server, request.form["token"])
        token = token or self.server.grants.find_refresh_token(digest(request.form["token"]))
        return token if token and token.check_client(client) else None

    def revoke_token(self, token: AccessToken | RefreshToken, _request: ParsedRequest) -> None:
        self.server.revoke(token.family, because="revoked-by-client")


def _require_token(request: ParsedRequest) -> None:
    if not request.form.get("token"):
        raise InvalidRequestError("Missing 'token' in request.")
