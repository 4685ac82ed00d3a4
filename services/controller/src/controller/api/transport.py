"""What every request goes through before routing: version headers, tolerant paths, HEAD, and secrets out of the path.

Pure ASGI, so that streams pass untouched.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

API_VERSION: Final = "2.3"
PLATFORM_VERSION: Final = "2.3.0"
STANDARD_HEADERS: Final = {
    "DRYCC_API_VERSION": API_VERSION,
    "DRYCC_PLATFORM_VERSION": PLATFORM_VERSION,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
ORIGINAL_PATH: Final = "original_path"
LOGIN_KEY: Final = "login_key"

_SLASHES = re.compile(r"/{2,}")
# Ids of keys may hold slashes, so that what follows these prefixes stays as it came.
_GREEDY = re.compile(r"^/+v2/+(keys|hooks/+key)/+(?=.)")
# So may paths of files in a volume, where only what follows `client/` is the path.
_FILES = re.compile(r"^/+v2/+apps/+[^/]+/+volumes/+[^/]+/+client/+(?=[^/])")
_LOGIN_POLL = "/v2/auth/token"
_LOGIN_KEY = re.compile(r"[-\w]+", re.ASCII)
_STARTS = frozenset({"http.response.start", "websocket.accept", "websocket.http.response.start"})


class TransportMiddleware:
    """The outermost layer; wraps everything, so that errors of the layers below carry the headers too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        is_head = scope.get("method") == "HEAD"

        async def dress(message: Message) -> None:
            if message["type"] in _STARTS:
                _add_headers(message)
            elif is_head and message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        await self._app(_routable(scope, is_head=is_head), receive, dress)


def _add_headers(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in STANDARD_HEADERS.items():
        headers.setdefault(name, value)


def _routable(scope: Scope, *, is_head: bool) -> Scope:
    path = normalise(scope["path"])
    state = dict(scope.get("state") or {})
    state[ORIGINAL_PATH] = scope["path"]
    if path.startswith(f"{_LOGIN_POLL}/"):
        # The key is as good as the token that it fetches: it must not stand in any log of paths, wherever it stands
        # in this one.
        key = path.removeprefix(f"{_LOGIN_POLL}/")
        path = f"{_LOGIN_POLL}/***"
        if _LOGIN_KEY.fullmatch(key):
            state[LOGIN_KEY], path = key, _LOGIN_POLL
    routable = {**scope, "path": path, "raw_path": path.encode(), "state": state}
    if is_head:
        routable["method"] = "GET"
    return routable


def normalise(path: str) -> str:
    """The path that routes are written for: single slashes, none at the end below /v2."""
    greedy = _GREEDY.match(path) or _FILES.match(path)
    if greedy is not None:
        return _SLASHES.sub("/", greedy.group()) + path[greedy.end() :]
    path = _SLASHES.sub("/", path)
    is_api = path.startswith("/v2")
    return path.removesuffix("/") if is_api else path
