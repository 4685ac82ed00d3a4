"""How many requests a credential may make. Each process counts for itself: several allow as many times more."""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import ClassVar, Final

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from controller.api.compat import render
from controller.settings import Settings
from shared.errors import SuiteError
from shared.logging import get_logger

MOST_KEYS: Final = 20_000
# Open to everybody. Anonymous requests elsewhere are refused before they cost anything.
_LOGIN_PATHS: Final = ("/v2/auth/login", "/v2/auth/token", "/v2/login/", "/v2/complete/")
_CREDENTIALS: Final = ("authorization", "x-drycc-builder-auth")
log = get_logger(__name__)


class TooManyRequestsError(SuiteError):
    """The credential has used up what it may ask for now."""

    code: ClassVar[str] = "too-many-requests"
    status: ClassVar[int] = 429
    title: ClassVar[str] = "Too many requests"

    def __init__(self, seconds: float) -> None:
        pause = max(1, math.ceil(seconds))
        super().__init__(
            f"too many requests; try again in {pause} s", headers={"Retry-After": str(pause)}, retry_after_seconds=pause
        )


class Buckets:
    """Token buckets (`rate` per second, `burst` at once) of the keys that came last; others are full."""

    def __init__(
        self,
        *,
        rate: float,
        burst: int,
        most_keys: int = MOST_KEYS,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._rate, self._burst, self._most_keys, self._monotonic = rate, burst, most_keys, monotonic
        self._buckets: OrderedDict[bytes, tuple[float, float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: bytes) -> float:
        """Take one token; 0 when there was one, else how many seconds it takes until there is."""
        now = self._monotonic()
        level, since = self._buckets.get(key, (float(self._burst), now))
        level = min(self._burst, level + (now - since) * self._rate)
        wait = 0.0 if level >= 1 else (1 - level) / self._rate
        self._buckets[key] = (level - 1 if wait == 0 else level, now)
        self._buckets.move_to_end(key)
        if len(self._buckets) > self._most_keys:
            self._buckets.popitem(last=False)
        return wait


class RateLimitMiddleware:
    """Answers 429 with `Retry-After` to who asks too often. Inside `OriginMiddleware`, which knows the address."""

    def __init__(self, app: ASGIApp, *, settings: Settings) -> None:
        self._app = app
        limited = settings.rate_limit > 0
        self._buckets = Buckets(rate=settings.rate_limit, burst=settings.rate_burst) if limited else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._buckets is not None and scope["type"] in ("http", "websocket"):
            headers = Headers(scope=scope)
            key = _key(scope, headers)
            wait = 0.0 if key is None else self._buckets.take(key)
            if wait:
                error = TooManyRequestsError(wait)
                log.info("request_refused", code=error.code, status=error.status, detail=error.detail)
                await render(error, accept=headers.get("accept", ""))(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _key(scope: Scope, headers: Headers) -> bytes | None:
    """Whose request it is: a digest, so that no credential stays in memory. None: nobody's that is counted."""
    if scope["path"].startswith(_LOGIN_PATHS):
        return _digest("address", str(scope["client"][0]) if scope.get("client") else "")
    credentials = ((name, _secret_in(headers.get(name, ""))) for name in _CREDENTIALS)
    return next((_digest(name, secret) for name, secret in credentials if secret), None)


def _secret_in(header: str) -> str:
    """What counts of a credential: neither the word before it nor the blanks around it make it another one."""
    words = header.split()
    return " ".join(words[1:] or words)


def _digest(kind: str, text: str) -> bytes:
    return hashlib.blake2b(f"{kind}:{text}".encode(), digest_size=16).digest()
