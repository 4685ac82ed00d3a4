"""Checks the ID token that passport hands out with an authorization code (OpenID Connect Core section 3.1.3.7)."""

from __future__ import annotations

from typing import ClassVar, Final

import httpx
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from shared.errors import ForbiddenError, UnavailableError

ALGORITHMS: Final = ("ES256", "Ed25519")
LEEWAY_SECONDS: Final = 10
KEYS_PATH: Final = "/oauth/.well-known/jwks.json"


class InvalidIdTokenError(ForbiddenError):
    """What came with the code does not prove that passport speaks of this login."""

    code: ClassVar[str] = "invalid-id-token"

    def __init__(self) -> None:
        super().__init__("Passport's answer does not belong to this login. Start again with `drycc login`.")


class IdTokens:
    """The keys are fetched at each check: logins in a browser are rare, and stale keys cannot hurt."""

    def __init__(self, client: httpx.AsyncClient, *, issuer: str, client_id: str) -> None:
        self._client = client
        self._issuer = issuer
        self._client_id = client_id

    async def check(self, id_token: str | None, *, nonce: str) -> None:
        """Return when the token is signed by passport, meant for us and for the login with that `nonce`.

        Raises:
            InvalidIdTokenError: it is not.
            UnavailableError: passport does not tell its keys.
        """
        if id_token is None:
            raise InvalidIdTokenError
        keys = await self._keys()
        registry = jwt.JWTClaimsRegistry(
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            registry.validate(jwt.decode(id_token, keys, algorithms=list(ALGORITHMS)).claims)
        except (JoseError, ValueError):
            raise InvalidIdTokenError from None

    async def _keys(self) -> KeySet:
        try:
            response = await self._client.get(KEYS_PATH)
            response.raise_for_status()
            return KeySet.import_key_set(response.json())
        except (httpx.HTTPError, JoseError, ValueError, KeyError, TypeError) as error:
            raise UnavailableError("passport, the identity provider, does not answer; try again later") from error
