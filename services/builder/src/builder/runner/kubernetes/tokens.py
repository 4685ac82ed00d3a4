"""Tokens with which a build fetches its own source: nothing is stored, and each is good for one build only."""

from __future__ import annotations

import hashlib
import hmac
from uuid import UUID


def source_token(key: bytes, build_id: UUID) -> str:
    """The token of that build: 64 hexadecimal digits."""
    return hmac.new(key, f"source of build {build_id}".encode(), hashlib.sha256).hexdigest()


def is_source_token(key: bytes, build_id: UUID, token: str) -> bool:
    """Whether it is that build's; takes as long for a wrong one."""
    return hmac.compare_digest(source_token(key, build_id).encode(), token.encode())
