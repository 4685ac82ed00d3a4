"""When a signing key is published, signs, and goes: a key ring that turns without invalidating anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

# Others cache our public keys for ten minutes; a key is published this long before it signs.
PUBLISH_AHEAD: Final = timedelta(minutes=15)


@dataclass(frozen=True)
class SigningKey:
    """A private key (a JWK, encrypted) which signs from `active_from` until the next one does."""

    kid: str
    algorithm: str
    encrypted_key: bytes
    created_at: datetime
    active_from: datetime


def signing_key(keys: Sequence[SigningKey], now: datetime) -> SigningKey | None:
    """The key that signs at `now`: the one that became active last."""
    active = [key for key in keys if key.active_from <= now]
    return max(active, key=_order, default=None)


def retired(keys: Sequence[SigningKey], now: datetime, *, token_lifetime: timedelta) -> list[SigningKey]:
    """Keys of which no valid token can exist: their successor has signed for longer than a token lives."""
    ordered = sorted(keys, key=_order)
    return [
        key for key, successor in pairwise(ordered) if successor.active_from + token_lifetime + PUBLISH_AHEAD <= now
    ]


def _order(key: SigningKey) -> tuple[datetime, datetime, str]:
    return (key.active_from, key.created_at, key.kid)
