"""Authlib's authorization server, made anew for each request on that request's session."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any

from authlib.oauth2.rfc6749 import (
    AuthorizationServer,
    InvalidClientError,
    InvalidGrantError,
    InvalidRequestError,
    OAuth2Error,
    UnsupportedResponseTypeError,
)
from sqlalchemy.util import await_only

from passport.domain.accounts import Account
from passport.domain.clients import Client
from passport.domain.errors import InvalidCredentialsError, TooManyAttemptsError
from passport.domain.tokens import Family
from passport.repositories.grants import Grants
from passport.services.keys import KeyRing
from passport.services.oauth.errors import ThrottledError
from passport.services.oauth.issuing import Mint, Policy
from passport.services.oauth.requests import OAuthResult, ParsedRequest

Authenticate = Callable[[str, str, str | None], Awaitable[Account]]


class PassportServer(AuthorizationServer):  # type: ignore[misc]
    """The grants and endpoints find here what they need. `keeps_changes`: commit although the answer is an error."""

    def __init__(
        self,
        *,
        request: ParsedRequest,
        grants: Grants,
        ring: KeyRing,
        policy: Policy,
        authenticate: Authenticate,
        now: datetime,
    ) -> None:
        super().__init__()
        self.request = request
        self.grants = grants
        self.ring = ring
        self.policy = policy
        self.now = now
        self.mint = Mint(grants, ring, policy, now)
        self.keeps_changes = False
        self._authenticate = authenticate
        self.register_token_generator("default", self._make_tokens)

    def query_client(self, client_id: str) -> Client | None:
        return self.grants.find_client(client_id)

    def save_token(self, _token: object, _request: ParsedRequest) -> None:
        self.mint.store()

    def authenticate_client(self, request: ParsedRequest, methods: list[str], endpoint: str = "token") -> Client:
        """The client, by the method that it is registered with; why it fails is not told.

        Raises:
            InvalidClientError: with status 401.
        """
        try:
            return super().authenticate_client(request, methods, endpoint)  # type: ignore[no-any-return]
        except (InvalidClientError, ValueError):  # ValueError: credentials that are no UTF-8
            raise InvalidClientError(description="Client authentication failed.", status_code=401) from None

    def authenticate_person(self, username: str, password: str) -> Account:
        """The account of that name and password.

        The connection is given back first: checking a password takes long and counts attempts on connections of
        its own.

        Raises:
            InvalidGrantError: there is none.
            ThrottledError: the account or the address has failed too often.
        """
        self.grants.release()
        try:
            return await_only(self._authenticate(username, password, self.request.address))
        except InvalidCredentialsError:
            raise InvalidGrantError("Invalid credentials given.") from None
        except TooManyAttemptsError as exc:
            raise ThrottledError(description=exc.detail, retry_after_seconds=exc.retry_after_seconds) from None

    def revoke(self, family: Family, *, because: str) -> None:
        """Make all tokens of the family invalid, whatever the answer will be."""
        self.grants.revoke_family(family.id, because=because, now=self.now)
        self.keeps_changes = True

    def get_authorization_grant(self, request: ParsedRequest) -> Any:
        if request.payload.response_type == "code":
            return super().get_authorization_grant(request)
        # Authlib would put what was sent into its description, which fails for characters that these cannot have.
        redirect_uri = self._sound_redirect_uri(request)
        if not request.payload.response_type:
            raise InvalidRequestError("Missing 'response_type' in request.", redirect_uri=redirect_uri)
        raise _OtherResponseTypeError(redirect_uri)

    def create_oauth2_request(self, request: ParsedRequest) -> ParsedRequest:
        return request

    def handle_response(self, status: int, body: Any, headers: list[tuple[str, str]]) -> OAuthResult:
        return OAuthResult(status, body, dict(headers))

    def handle_error_response(self, request: ParsedRequest, error: OAuth2Error) -> OAuthResult:
        result: OAuthResult = super().handle_error_response(request, error)
        result.is_error = True
        return result

    def send_signal(self, name: str, *args: object, **kwargs: object) -> None:
        """Nobody listens to Authlib's signals: what happened is logged where the answer is made."""

    def _make_tokens(
        self,
        *,
        grant_type: str,
        client: Client,
        user: Account | None = None,
        scope: str | None = None,
        expires_in: int | None = None,  # noqa: ARG002  Authlib's signature; lifetimes are the policy's
        include_refresh_token: bool = True,
    ) -> dict[str, object]:
        return self.mint.make(
            request=self.request,
            grant_type=grant_type,
            client=client,
            user=user,
            scope=scope,
            with_refresh_token=include_refresh_token,
        )

    def _sound_redirect_uri(self, request: ParsedRequest) -> str | None:
        """Where an error may be sent: a redirect URI of the client, or None."""
        client = self.query_client(request.payload.client_id or "")
        if client is None:
            return None
        asked = request.payload.redirect_uri
        if not asked:
            return client.get_default_redirect_uri()
        return asked if client.check_redirect_uri(asked) else None


class _OtherResponseTypeError(UnsupportedResponseTypeError):  # type: ignore[misc]
    def __init__(self, redirect_uri: str | None) -> None:
        OAuth2Error.__init__(self, redirect_uri=redirect_uri)

    def get_error_description(self) -> str:
        return "Only 'response_type=code' is supported."
