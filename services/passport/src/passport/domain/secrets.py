"""Random secrets, and the digests that stand for them in the database."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

_BYTES: Final = 32


def new_secret(prefix: str = "") -> str:
    """256 random bits in URL-safe text. A prefix lets secret scanners recognise what leaked."""
    return prefix + secrets.token_urlsafe(_BYTES)


def digest(secret: str) -> bytes:
    """What is stored instead of `secret`: SHA-256, which suffices for 256 random bits (no guessing to slow down)."""
    return hashlib.sha256(secret.encode()).digest()


def same(left: bytes, right: bytes) -> bool:
    """Compare without telling by the time taken where they differ."""
    return hmac.compare_digest(left, right)


class Sealer:
    """Keyed digests: stamps that only this service can make, and names that can be compared but not read."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"passport: sealer", "sha256")

    def seal(self, purpose: str, text: str) -> bytes:
        """The digest of `text`; different for each purpose."""
        return hmac.digest(self._key, f"{purpose}\x00{text}".encode(), "sha256")
