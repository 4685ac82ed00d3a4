"""The four grants, stricter than Authlib leaves them: see the specification of each in its docstring."""

from __future__ import annotations

from authlib.oauth2.rfc6749 import InvalidGrantError, InvalidRequestError
from authlib.oauth2.rfc6749 import grants as authlib_grants
from authlib.oauth2.rfc7636 import CodeChallenge

from passport.domain.accounts import Account
from passport.domain.clients import Client
from passport.domain.secrets import digest, new_secret
from passport.domain.tokens import Code, RefreshToken
from passport.services.oauth.requests import ParsedRequest
from passport.services.oauth.server import PassportServer

_WITH_SECRET = ["client_secret_basic", "client_secret_post"]
_ANY_METHOD = [*_WITH_SECRET, "none"]
_NONCE_MAX = 1024


class StrictPKCE(CodeChallenge):  # type: ignore[misc]
    """RFC 7636 with S256, required of every client at the authorization endpoint (RFC 9700 section 2.1.1)."""

    DEFAULT_CODE_CHALLENGE_METHOD = "S256"
    SUPPORTED_CODE_CHALLENGE_METHOD = ("S256",)

    def validate_code_challenge(self, grant: CodeGrant, redirect_uri: str | None) -> None:
        data = grant.request.payload.data
        if not data.get("code_challenge"):
            raise InvalidRequestError("PKCE is required: send 'code_challenge' with 'code_challenge_method=S256'.")
        if data.get("code_challenge_method") != "S256":
            raise InvalidRequestError("Only 'code_challenge_method=S256' is supported.")
        super().validate_code_challenge(grant, redirect_uri)


class CodeGrant(authlib_grants.AuthorizationCodeGrant):  # type: ignore[misc]
    """RFC 6749 section 4.1. Codes live a minute and work once; a replay revokes what the first use gave."""

    TOKEN_ENDPOINT_AUTH_METHODS = _ANY_METHOD
    server: PassportServer
    request: ParsedRequest

    @staticmethod
    def validate_authorization_redirect_uri(request: ParsedRequest, client: Client) -> str:
        redirect_uri = request.payload.redirect_uri or client.get_default_redirect_uri()
        if not redirect_uri:
            raise InvalidRequestError("Missing 'redirect_uri' in request.")
        if not client.check_redirect_uri(redirect_uri):
            raise InvalidRequestError("The redirect URI is not one of this client.")
        return str(redirect_uri)

    def generate_authorization_code(self) -> str:
        return new_secret()

    def save_authorization_code(self, code: str, request: ParsedRequest) -> None:
        nonce = request.payload.data.get("nonce")
        if nonce and len(nonce) > _NONCE_MAX:
            raise InvalidRequestError("The 'nonce' is too long.", redirect_uri=self.redirect_uri)
        now = self.server.now
        self.server.grants.add_code(
            Code(
                digest=digest(code),
                client_id=request.client.client_id,
                account_id=request.user.id,
                redirect_uri=request.payload.redirect_uri,
                scope=request.scope or "",
                nonce=nonce,
                code_challenge=request.payload.data["code_challenge"],
                authenticated_at=request.authenticated_at or now,
                expires_at=now + self.server.policy.code,
            )
        )

    def query_authorization_code(self, code: str, client: Client) -> Code | None:
        found = self.server.grants.lock_code(digest(code))
        if found is None or found.client_id != client.client_id:
            return None
        if found.used_at is not None:
            if found.family_id is not None:
                grants, now = self.server.grants, self.server.now
                grants.revoke_family(found.family_id, because="code-replayed", now=now)
                self.server.keeps_changes = True
            return None
        return found if found.expires_at > self.server.now else None

    def delete_authorization_code(self, authorization_code: Code) -> None:
        """Keep it, marked: only so a replay can be noticed."""
        minted = self.server.mint.minted
        assert minted is not None  # noqa: S101  Authlib calls this after the tokens were saved
        family_id = minted.access.family.id
        self.server.grants.use_code(authorization_code, family_id=family_id, now=self.server.now)

    def authenticate_user(self, authorization_code: Code) -> Account | None:
        return self.server.grants.find_account(authorization_code.account_id)


class RefreshGrant(authlib_grants.RefreshTokenGrant):  # type: ignore[misc]
    """RFC 6749 section 6 with rotation: a token works once, and using one again revokes its family (RFC 9700 4.14)."""

    TOKEN_ENDPOINT_AUTH_METHODS = _ANY_METHOD
    INCLUDE_NEW_REFRESH_TOKEN = True
    server: PassportServer
    request: ParsedRequest

    def authenticate_refresh_token(self, refresh_token: str) -> RefreshToken | None:
        found = self.server.grants.lock_refresh_token(digest(refresh_token))
        if found is None or not found.check_client(self.request.client):
            return None
        if found.used_at is not None:
            self.server.revoke(found.family, because="refresh-token-reused")
            return None
        alive = found.family.revoked_at is None and self.server.now < min(found.expires_at, found.family.expires_at)
        return found if alive else None

    def authenticate_user(self, refresh_token: RefreshToken) -> Account:
        account_id = refresh_token.family.account_id
        account = None if account_id is None else self.server.grants.find_account(account_id)
        if account is None:
            raise InvalidGrantError("The account is not active.")
        return account

    def revoke_old_credential(self, refresh_token: RefreshToken) -> None:
        self.server.grants.use_refresh_token(refresh_token.digest, self.server.now)


class PasswordGrant(authlib_grants.ResourceOwnerPasswordCredentialsGrant):  # type: ignore[misc]
    """RFC 6749 section 4.3, for clients with a secret that are registered for it: the platform's own controller."""

    TOKEN_ENDPOINT_AUTH_METHODS = _WITH_SECRET
    server: PassportServer
    request: ParsedRequest

    def authenticate_user(self, username: str, password: str) -> Account:
        return self.server.authenticate_person(username, password)


class ServiceGrant(authlib_grants.ClientCredentialsGrant):  # type: ignore[misc]
    """RFC 6749 section 4.4: a service speaks for itself."""

    TOKEN_ENDPOINT_AUTH_METHODS = _WITH_SECRET
