"""The outermost layer of every service: request id, log context, metrics, access log, the last catch of surprises."""

from __future__ import annotations

import inspect
import re
import time
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bound_contextvars

from shared.db.types import uuid7
from shared.logging import get_logger
from shared.metrics import HTTP_REQUESTS, HTTP_SECONDS

REQUEST_ID_HEADER: Final = "X-Request-ID"
_SOUND_ID: Final = re.compile(r"^[\w.:-]{1,64}$", re.ASCII)
_SOUND_TRACEPARENT: Final = re.compile(r"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_QUIET_PATHS: Final = frozenset({"/healthz", "/readiness", "/metrics"})
log = get_logger("shared.web.access")


class RequestMiddleware:
    """Pure ASGI: streams pass through untouched, and contextvars stay in the task that handles the request."""

    def __init__(self, app: ASGIApp, *, service: str) -> None:
        self._app = app
        self._service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        with bound_contextvars(**_facts(scope, self._service)):
            exchange = _Exchange(scope, send, request_id=_facts_id(scope))
            try:
                await self._app(scope, receive, exchange.send)
            except Exception as exc:
                await exchange.on_surprise(exc)
            finally:
                exchange.record(self._service)


def _facts(scope: Scope, service: str) -> dict[str, Any]:
    headers = Headers(scope=scope)
    given = headers.get(REQUEST_ID_HEADER, "")
    scope.setdefault("state", {})["request_id"] = given if _SOUND_ID.match(given) else uuid7().hex
    facts = {"service": service, "request_id": _facts_id(scope)}
    traceparent = headers.get("traceparent", "")
    if _SOUND_TRACEPARENT.match(traceparent):
        facts["traceparent"] = traceparent
    return facts


def _facts_id(scope: Scope) -> str:
    return str(scope["state"]["request_id"])


class _Exchange:
    """One request and its answer, as far as it got."""

    def __init__(self, scope: Scope, send: Send, *, request_id: str) -> None:
        self._scope = scope
        self._send = send
        self._request_id = request_id
        self._started = time.perf_counter()
        self._status: int | None = None

    async def send(self, message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            self._status = message.get("status", 101)
            MutableHeaders(scope=message)[REQUEST_ID_HEADER] = self._request_id
        elif message["type"] == "websocket.close" and self._status is None:
            self._status = 403  # the server turns a close before the handshake into this
        await self._send(message)

    async def on_surprise(self, exc: Exception) -> None:
        """Log what nobody expected and answer with the application's handler for `Exception`, where that still works.

        Raises:
            Exception: `exc` again, when the answer has begun or there is none to give (websockets): the server then
                closes the connection.
        """
        if self._scope["type"] != "http" or self._status is not None:
            raise exc
        log.error("unhandled_error", method=self._scope["method"], path=self._scope["path"], exc_info=exc)
        handler = self._scope["app"].exception_handlers[Exception]
        request = Request(self._scope)
        outcome = handler(request, exc)
        response = await outcome if inspect.isawaitable(outcome) else outcome
        await response(self._scope, request.receive, self.send)

    def record(self, service: str) -> None:
        """Count the request and write its line in the access log; health requests are counted only."""
        seconds = time.perf_counter() - self._started
        path = self._scope["path"]
        method = self._scope.get("method", "WEBSOCKET")
        route = path if path in _QUIET_PATHS else _route(self._scope)
        HTTP_REQUESTS.labels(service, method, route, str(self._status or 499)).inc()
        HTTP_SECONDS.labels(service, route).observe(seconds)
        if path not in _QUIET_PATHS:
            # The query is left out: it may carry codes and tokens.
            log.info("request", method=method, path=path, status=self._status, duration_ms=round(seconds * 1000, 1))


def _route(scope: Scope) -> str:
    """The path template that matched: paths themselves would make a series for each application."""
    included = scope.get("fastapi", {}).get("effective_route_context")  # with the prefixes of its routers
    for place, name in ((included, "path_format"), (scope.get("route"), "path")):
        template = getattr(place, name, None)
        if isinstance(template, str):
            return template
    return "unmatched"
