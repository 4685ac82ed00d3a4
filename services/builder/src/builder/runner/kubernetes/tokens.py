"""What a build shows to get at its own source and images: nothing is stored, and each is good for one build only."""

from __future__ import annotations

import hashlib
import hmac
import json
from base64 import b64encode
from uuid import UUID


def source_token(key: bytes, build_id: UUID) -> str:
    """The token with which that build fetches its source: 64 hexadecimal digits."""
    return _mac(key, f"source of build {build_id}")


def is_source_token(key: bytes, build_id: UUID, token: str) -> bool:
    """Whether it is that build's; takes as long for a wrong one."""
    return hmac.compare_digest(source_token(key, build_id).encode(), token.encode())


def registry_password(key: bytes, build_id: UUID) -> str:
    """The password of that build's account at our token server, whose name is its id: 64 hexadecimal digits."""
    return _mac(key, f"registry account of build {build_id}")


def is_registry_password(key: bytes, build_id: UUID, password: str) -> bool:
    """Whether it is that build's; takes as long for a wrong one."""
    return hmac.compare_digest(registry_password(key, build_id).encode(), password.encode())


def docker_auth(registry: str, username: str, password: str) -> str:
    """A docker auth file (`config.json`) with one account at one registry (`host[:port]`)."""
    auth = b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {registry: {"auth": auth}}})


def _mac(key: bytes, purpose: str) -> str:
    return hmac.new(key, purpose.encode(), hashlib.sha256).hexdigest()
