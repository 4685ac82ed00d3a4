"""Lets one service call another: an `httpx.Auth` with tokens from client credentials (RFC 6749 section 4.4)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from typing import Final

import httpx
from pydantic import SecretStr

from shared.errors import UnavailableError

_EARLY_SECONDS: Final = 60.0
_TOKEN_PATH: Final = "/oauth/token/"  # noqa: S105  a path


class ServiceTokens(httpx.Auth):
    """Adds `Authorization: Bearer ...` for `audience` with `scopes`, got through `client` from passport.

    A token is used until a minute before its end (for short-lived ones, half of their life). Requests that need a new
    one at the same time share one call. A 401 gets one more try with a new token.
    """

    def __init__(
        self,
        *,
        client: httpx.AsyncClient,
        client_id: str,
        client_secret: SecretStr,
        audience: str,
        scopes: Sequence[str],
    ) -> None:
        self._client = client
        self._credentials = (client_id, client_secret)
        self._form = {"grant_type": "client_credentials", "audience": audience, "scope": " ".join(scopes)}
        self._token: str | None = None
        self._use_until = 0.0
        self._one_call = asyncio.Lock()

    async def token(self, *, rejected: str | None = None) -> str:
        """A token that should be accepted; never `rejected` again.

        Raises:
            UnavailableError: passport gives none.
        """
        if not self._is_fresh(rejected):
            async with self._one_call:
                if not self._is_fresh(rejected):
                    await self._fetch()
        assert self._token is not None  # noqa: S101  fetched or raised
        return self._token

    async def async_auth_flow(self, request: httpx.Request) -> AsyncGenerator[httpx.Request, httpx.Response]:
        token = await self.token()
        request.headers["Authorization"] = f"Bearer {token}"
        response = yield request
        if response.status_code == 401:
            request.headers["Authorization"] = f"Bearer {await self.token(rejected=token)}"
            yield request

    def _is_fresh(self, rejected: str | None) -> bool:
        return self._token is not None and self._token != rejected and time.monotonic() < self._use_until

    async def _fetch(self) -> None:
        client_id, secret = self._credentials
        started = time.monotonic()
        try:
            response = await self._client.post(
                _TOKEN_PATH, data=self._form, auth=httpx.BasicAuth(client_id, secret.get_secret_value())
            )
            response.raise_for_status()
            answer = response.json()
            token, lifetime = str(answer["access_token"]), float(answer.get("expires_in", 0))
        except httpx.HTTPStatusError as exc:
            raise UnavailableError(f"no token for {client_id}: passport says {exc.response.status_code}") from None
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as exc:
            raise UnavailableError(f"no token for {client_id}: {type(exc).__name__}") from exc
        self._token = token
        self._use_until = started + max(lifetime - _EARLY_SECONDS, lifetime / 2)
