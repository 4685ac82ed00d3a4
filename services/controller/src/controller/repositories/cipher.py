"""Encryption at rest of what is secret: config values and registry credentials. The one place that holds the keys."""

from __future__ import annotations

import json
from collections.abc import Sequence

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from shared.errors import UnavailableError


class UnreadableSecretError(UnavailableError):
    """A stored secret was encrypted with a key that is not in the key ring any more."""

    code = "unreadable-secret"
    title = "A stored secret cannot be decrypted"


class Cipher:
    """A key ring: the first key encrypts, all of them decrypt, so that keys can be rotated."""

    def __init__(self, keys: Sequence[str]) -> None:
        if not keys:
            raise ValueError("at least one encryption key is needed; make one with Fernet.generate_key()")
        self._ring = MultiFernet([Fernet(key) for key in keys])

    def seal(self, value: object) -> str:
        """The JSON value as ciphertext."""
        return self._ring.encrypt(json.dumps(value, separators=(",", ":")).encode()).decode()

    def open(self, sealed: str) -> object:
        """The value that `seal` was given.

        Raises:
            UnreadableSecretError: no key of the ring fits.
        """
        try:
            return json.loads(self._ring.decrypt(sealed))
        except InvalidToken as error:
            raise UnreadableSecretError(
                "a stored secret does not open with the encryption keys: put the former key back into the list"
            ) from error
