"""Access tokens between services: verified locally against passport's published keys."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import httpx
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from pydantic import ValidationError

from shared.errors import UnauthenticatedError, UnavailableError
from shared.logging import get_logger
from shared.service_tokens import ServiceTokens

__all__ = ["Claims", "InvalidTokenError", "ServiceTokens", "TokenVerifier"]

_ALGORITHMS: Final = ("ES256", "Ed25519")
_KEYS_SECONDS: Final = 600.0
_REFETCH_SECONDS: Final = 5.0
_LEEWAY_SECONDS: Final = 10
_MAX_TOKEN_LENGTH: Final = 8192
log = get_logger(__name__)


class InvalidTokenError(UnauthenticatedError):
    """The bearer token is not one that we accept. The detail says why, never what the token was."""

    code = "invalid-token"
    title = "The access token is not valid"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})


@dataclass(frozen=True)
class Claims:
    """What a verified access token (RFC 9068) says. `username` is None for a service."""

    subject: str
    client_id: str
    username: str | None
    scopes: frozenset[str]
    expires_at: datetime
    jti: str


class TokenVerifier:
    """Checks tokens of `issuer` that are meant for `audience`, with the keys that `client` gets from `jwks_path`.

    Keys are kept for ten minutes. A token with an unknown key makes us ask again, at most every five seconds; when
    passport does not answer, the keys that we have go on being used.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        client: httpx.AsyncClient,
        jwks_path: str = "/oauth/.well-known/jwks.json",
    ) -> None:
        self._keys = _Keys(client, jwks_path)
        self._registry = jwt.JWTClaimsRegistry(
            leeway=_LEEWAY_SECONDS,
            iss={"essential": True, "value": issuer},
            aud={"essential": True, "value": audience},
            exp={"essential": True},
            sub={"essential": True},
            client_id={"essential": True},
            jti={"essential": True},
        )

    async def verify(self, token: str) -> Claims:
        """The claims of `token`.

        Raises:
            InvalidTokenError: it is malformed, not signed by the issuer, expired, or meant for someone else.
            UnavailableError: there are no keys to check it with, as passport does not answer.
        """
        kid = _key_id(token)
        keys = await self._keys.having(kid)
        try:
            verified = jwt.decode(token, keys, algorithms=list(_ALGORITHMS))
            self._registry.validate(verified.claims)
        except (JoseError, ValueError) as exc:
            raise InvalidTokenError(f"the token was refused: {_reason(exc)}") from None
        if verified.header.get("typ", "").lower().removeprefix("application/") != "at+jwt":
            raise InvalidTokenError("the token was refused: it is not an access token")
        return _claims(verified.claims)


def _key_id(token: str) -> str:
    if len(token) > _MAX_TOKEN_LENGTH:
        raise InvalidTokenError("the token was refused: it is too long")
    try:
        header = jws.extract_compact(token.encode()).headers()
    except (JoseError, ValueError):
        raise InvalidTokenError("the token was refused: it is not a signed JWT") from None
    if header.get("alg") not in _ALGORITHMS:
        raise InvalidTokenError("the token was refused: its algorithm is not allowed")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise InvalidTokenError("the token was refused: it names no key")
    return kid


def _reason(exc: Exception) -> str:
    return str(getattr(exc, "error", "") or type(exc).__name__).replace("_", " ")


def _claims(values: Mapping[str, Any]) -> Claims:
    username = values.get("username")
    return Claims(
        subject=str(values["sub"]),
        client_id=str(values["client_id"]),
        username=username if isinstance(username, str) and username else None,
        scopes=frozenset(str(values.get("scope") or "").split()),
        expires_at=datetime.fromtimestamp(int(values["exp"]), UTC),
        jti=str(values["jti"]),
    )


class _Keys:
    """The published keys of the issuer."""

    def __init__(self, client: httpx.AsyncClient, path: str) -> None:
        self._client = client
        self._path = path
        self._keys: KeySet | None = None
        self._fetched = float("-inf")
        self._one_fetch = asyncio.Lock()

    async def having(self, kid: str) -> KeySet:
        """Keys among which, if the issuer publishes it, is `kid`."""
        if not self._is_good_for(kid):
            async with self._one_fetch:
                if not self._is_good_for(kid):
                    await self._fetch()
        if self._keys is None:
            raise UnavailableError("tokens cannot be checked now: the keys of the issuer are not to be had")
        return self._keys

    def _is_good_for(self, kid: str) -> bool:
        age = time.monotonic() - self._fetched
        if age < _REFETCH_SECONDS and self._keys is not None:
            return True
        known = self._keys is not None and any(key.kid == kid for key in self._keys)
        return known and age < _KEYS_SECONDS

    async def _fetch(self) -> None:
        try:
            response = await self._client.get(self._path)
            response.raise_for_status()
            self._keys = KeySet.import_key_set(response.json())
        except (httpx.HTTPError, JoseError, ValidationError, ValueError, KeyError, TypeError) as exc:
            log.warning("issuer_keys_not_fetched", error=f"{type(exc).__name__}: {exc}")
            if self._keys is None:
                return
        self._fetched = time.monotonic()
