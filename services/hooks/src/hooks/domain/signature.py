"""Signatures of deploy hooks, by which a receiver knows that a request came from this platform."""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime


def signature_headers(url: str, *, secret: str, now: datetime) -> dict[str, str]:
    """Headers that sign the complete `url`.

    `Authorization` is the HMAC-SHA1 that the Drycc Workflow controller sends. `Workflow-Signature` also covers the
    time of sending (Unix seconds), so that a receiver can refuse a request that was recorded and sent again.
    """
    key = secret.encode()
    sent_at = int(now.timestamp())
    legacy = hmac.new(key, url.encode(), hashlib.sha1).hexdigest()
    modern = hmac.new(key, f"{sent_at}.{url}".encode(), hashlib.sha256).hexdigest()
    return {"Authorization": legacy, "Workflow-Signature": f"t={sent_at},v1={modern}"}
