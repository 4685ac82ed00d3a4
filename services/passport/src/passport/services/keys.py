"""The signing keys: made, kept encrypted, rotated; and the ring of those in use, which signs and verifies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet
from pydantic import SecretStr

from passport.domain.errors import EncryptionKeyError
from passport.domain.keys import PUBLISH_AHEAD, SigningKey, retired, signing_key
from passport.repositories.keys import SigningKeys
from shared.clock import Clock
from shared.db import Database
from shared.logging import get_logger

ALGORITHM: Final = "ES256"
_RELOAD_AFTER: Final = timedelta(minutes=1)
_MAX_TOKEN_LENGTH: Final = 8192
log = get_logger(__name__)


@dataclass(frozen=True)
class KeyRing:
    """The keys as they were at `loaded_at`: one signs, all verify."""

    signing: ECKey
    published: KeySet
    loaded_at: datetime

    def sign(self, claims: Mapping[str, object], *, typ: str) -> str:
        """A JWT with the header members `typ` and `kid`."""
        header = {"alg": ALGORITHM, "typ": typ, "kid": self.signing.kid}
        return jwt.encode(header, dict(claims), self.signing, algorithms=[ALGORITHM])

    def verify(self, token: str, *, typ: str, issuer: str, now: datetime) -> dict[str, Any] | None:
        """The claims of a token of ours which has not expired; None for anything else."""
        if len(token) > _MAX_TOKEN_LENGTH:
            return None
        registry = jwt.JWTClaimsRegistry(
            now=int(now.timestamp()),
            iss={"essential": True, "value": issuer},
            aud={"essential": True},
            exp={"essential": True},
            sub={"essential": True},
            jti={"essential": True},
            client_id={"essential": True},
        )
        try:
            verified = jwt.decode(token, self.published, algorithms=[ALGORITHM])
            registry.validate(verified.claims)
        except (JoseError, ValueError):
            return None
        return verified.claims if verified.header.get("typ") == typ else None

    def jwks(self) -> dict[str, object]:
        """The public keys as a JWK set (RFC 7517)."""
        keys = [key.as_dict(private=False) | {"use": "sig", "alg": ALGORITHM} for key in self.published]
        return {"keys": keys}


class KeyStore:
    """Signing keys in the database, encrypted with the first of `encryption_keys`; all of these decrypt."""

    def __init__(
        self,
        database: Database,
        *,
        encryption_keys: Sequence[SecretStr],
        token_lifetime: timedelta,
        clock: Clock,
    ) -> None:
        self._database = database
        self._cipher = MultiFernet([Fernet(key.get_secret_value()) for key in encryption_keys])
        self._token_lifetime = token_lifetime
        self._clock = clock
        self._ring: KeyRing | None = None
        self._one_load = asyncio.Lock()

    async def ring(self) -> KeyRing:
        """The keys in use, at most a minute old.

        Raises:
            EncryptionKeyError: they were encrypted with a key that we do not have.
        """
        if not self._is_fresh():
            async with self._one_load:
                if not self._is_fresh():
                    self._ring = await self._load()
        assert self._ring is not None  # noqa: S101  loaded or raised
        return self._ring

    async def prepare(self) -> None:
        """Make the first key if there is none, and encrypt anew what an older encryption key holds."""
        async with self._database.transaction() as session:
            repository = SigningKeys(session)
            await repository.lock()
            keys = await repository.list()
            if signing_key(keys, self._clock.now()) is None:
                await repository.add(self._new_key(active_from=self._clock.now()))
            for key in keys:
                self._open(key)
                await repository.replace_ciphertext(key.kid, self._cipher.rotate(key.encrypted_key))

    async def rotate(self, *, at_once: bool = False) -> SigningKey:
        """Add a key, and remove keys of which no valid token is left.

        The new key is published now and signs a quarter of an hour later, when all who cache our keys know it.
        `at_once` is for a key that has leaked: the new one signs now, all others go, and what they signed is invalid.
        """
        now = self._clock.now()
        key = self._new_key(active_from=now if at_once else now + PUBLISH_AHEAD)
        async with self._database.transaction() as session:
            repository = SigningKeys(session)
            await repository.lock()
            keys = await repository.list()
            gone = keys if at_once else retired(keys, now, token_lifetime=self._token_lifetime)
            await repository.delete([old.kid for old in gone])
            await repository.add(key)
        self._ring = None
        log.info("signing_key_added", kid=key.kid, active_from=key.active_from.isoformat(), removed=len(gone))
        return key

    async def remove_retired(self) -> None:
        """Remove keys of which no valid token is left."""
        async with self._database.transaction() as session:
            repository = SigningKeys(session)
            await repository.lock()
            gone = retired(await repository.list(), self._clock.now(), token_lifetime=self._token_lifetime)
            await repository.delete([key.kid for key in gone])

    def _is_fresh(self) -> bool:
        return self._ring is not None and self._clock.now() - self._ring.loaded_at < _RELOAD_AFTER

    async def _load(self) -> KeyRing:
        async with self._database.session() as session:
            keys = await SigningKeys(session).list()
        now = self._clock.now()
        current = signing_key(keys, now)
        if current is None:
            raise RuntimeError("there is no signing key: prepare() was not called")
        opened = {key.kid: self._open(key) for key in keys}
        return KeyRing(opened[current.kid], KeySet(list(opened.values())), now)

    def _new_key(self, *, active_from: datetime) -> SigningKey:
        key = ECKey.generate_key("P-256", private=True, auto_kid=True)
        private = json.dumps(key.as_dict(private=True)).encode()
        return SigningKey(str(key.kid), ALGORITHM, self._cipher.encrypt(private), self._clock.now(), active_from)

    def _open(self, key: SigningKey) -> ECKey:
        try:
            return ECKey.import_key(json.loads(self._cipher.decrypt(key.encrypted_key)))
        except InvalidToken:
            raise EncryptionKeyError from None
