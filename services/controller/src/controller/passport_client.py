"""What the controller asks of passport: tokens for people who log in, and who a token belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar
from urllib.parse import urlencode

import httpx
from pydantic import SecretStr

from controller.domain.accounts import Profile
from shared.errors import SuiteError, UnavailableError

SCOPE = "openid"


class WrongCredentialsError(SuiteError):
    """Passport does not accept this user name and password."""

    code: ClassVar[str] = "wrong-credentials"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Wrong user name or password"

    def __init__(self) -> None:
        super().__init__("Unable to log in with provided credentials.", field="non_field_errors")


class TooManyAttemptsError(SuiteError):
    """Passport has had enough of wrong passwords for a while."""

    code: ClassVar[str] = "too-many-attempts"
    status: ClassVar[int] = 429
    title: ClassVar[str] = "Too many attempts"

    def __init__(self, retry_after: str) -> None:
        super().__init__(
            f"too many attempts to log in; try again in {retry_after} seconds", headers={"Retry-After": retry_after}
        )


class GrantEndedError(SuiteError):
    """What passport gave us for a person is not valid any more: revoked, expired, or the account is closed."""

    code: ClassVar[str] = "grant-ended"
    status: ClassVar[int] = 401
    title: ClassVar[str] = "The login has ended"

    def __init__(self) -> None:
        super().__init__("Invalid token.")


@dataclass(frozen=True)
class TokenSet:
    """Passport's answer to a grant; short-lived access token, rotating refresh token."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(repr=False)
    id_token: str | None = field(repr=False)


class PassportClient:
    """Calls passport as the controller's OAuth client. Every call has the deadline of the HTTP client.

    All methods raise `UnavailableError` when passport cannot be reached or does not work.
    """

    def __init__(self, client: httpx.AsyncClient, *, issuer: str, client_id: str, client_secret: SecretStr) -> None:
        self._client = client
        self._issuer = issuer
        self.client_id = client_id
        self._basic = httpx.BasicAuth(client_id, client_secret.get_secret_value())

    def authorize_url(self, *, redirect_uri: str, state: str, nonce: str, challenge: str) -> str:
        """Where to send the browser: code flow with PKCE S256 (RFC 7636)."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": redirect_uri,
            "scope": SCOPE,
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{self._issuer}/authorize/?{urlencode(query)}"

    async def log_in(self, username: str, password: str, *, address: str) -> TokenSet:
        """Tokens for a user name and password (grant `password`). `address` is the client's, for passport's throttle.

        Raises:
            WrongCredentialsError: passport refuses them.
            TooManyAttemptsError: passport refuses to look at them for now.
        """
        form = {"grant_type": "password", "username": username, "password": password, "scope": SCOPE}
        response = await self._post("/oauth/token/", form, headers={"X-Forwarded-For": address} if address else {})
        if response.status_code == httpx.codes.TOO_MANY_REQUESTS:
            raise TooManyAttemptsError(response.headers.get("Retry-After", "60"))
        if _oauth_error(response) == "invalid_grant":
            raise WrongCredentialsError
        return _token_set(response)

    async def exchange(self, code: str, *, verifier: str, redirect_uri: str) -> TokenSet:
        """Tokens for an authorization code.

        Raises:
            GrantEndedError: the code is not valid (any more).
        """
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": redirect_uri}
        return await self._grant({**form, "code_verifier": verifier})

    async def refresh(self, refresh_token: str) -> TokenSet:
        """New tokens for a refresh token, which is used up by it.

        Raises:
            GrantEndedError: it is not valid (any more).
        """
        return await self._grant({"grant_type": "refresh_token", "refresh_token": refresh_token})

    async def revoke(self, refresh_token: str) -> None:
        """End the login that a refresh token stands for."""
        form = {"token": refresh_token, "token_type_hint": "refresh_token"}
        _expect_ok(await self._post("/oauth/revoke_token/", form, headers={}))

    async def userinfo(self, access_token: str) -> Profile:
        """Whose access token that is.

        Raises:
            GrantEndedError: it is not valid (any more).
        """
        headers = {"Authorization": f"Bearer {access_token}"}
        response = await self._send("GET", "/oauth/userinfo/", headers=headers)
        if response.status_code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            raise GrantEndedError
        return profile_of(_expect_ok(response))

    async def _grant(self, form: Mapping[str, str]) -> TokenSet:
        response = await self._post("/oauth/token/", form, headers={})
        if _oauth_error(response) == "invalid_grant":
            raise GrantEndedError
        return _token_set(response)

    async def _post(self, path: str, form: Mapping[str, str], *, headers: Mapping[str, str]) -> httpx.Response:
        return await self._send("POST", path, form=form, headers=headers)

    async def _send(
        self, method: str, path: str, *, headers: Mapping[str, str], form: Mapping[str, str] | None = None
    ) -> httpx.Response:
        auth = self._basic if form is not None else None
        try:
            return await self._client.request(method, path, data=form, headers=headers, auth=auth)
        except httpx.HTTPError as error:
            raise UnavailableError("passport, the identity provider, does not answer; try again later") from error


def profile_of(claims: Mapping[str, object]) -> Profile:
    """The person in a userinfo answer.

    Raises:
        UnavailableError: the answer lacks what must be in it.
    """
    number, username = claims.get("id"), claims.get("username")
    if not isinstance(number, int) or not isinstance(username, str):
        raise UnavailableError("passport, the identity provider, answers without id and username")
    return Profile(
        id=number,
        username=username,
        email=str(claims.get("email") or ""),
        first_name=str(claims.get("first_name") or ""),
        last_name=str(claims.get("last_name") or ""),
        is_active=claims.get("is_active") is True,
        is_staff=claims.get("is_staff") is True,
        is_superuser=claims.get("is_superuser") is True,
    )


def _oauth_error(response: httpx.Response) -> str | None:
    if response.status_code != httpx.codes.BAD_REQUEST:
        return None
    return str(_json(response).get("error"))


def _token_set(response: httpx.Response) -> TokenSet:
    body = _expect_ok(response)
    access, refresh, identity = (body.get(name) for name in ("access_token", "refresh_token", "id_token"))
    if not isinstance(access, str):
        raise UnavailableError("passport, the identity provider, answers without an access token")
    return TokenSet(access, _text(refresh), _text(identity))


def _expect_ok(response: httpx.Response) -> Mapping[str, object]:
    if response.is_success:
        return _json(response)
    # The body is left out: it may repeat what was sent.
    raise UnavailableError(f"passport, the identity provider, refuses the controller (status {response.status_code})")


def _json(response: httpx.Response) -> Mapping[str, object]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
