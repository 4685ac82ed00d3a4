"""The parties around the hooks service: a receiver of deploy hooks, an issuer of access tokens, the service itself."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, TypeVar

import httpx
from fastapi import FastAPI
from joserfc import jwt
from joserfc.jwk import ECKey
from starlette.requests import Request
from starlette.responses import Response

from shared.bus import InProcessBus
from shared.events import Envelope, ReleaseCreated
from shared.settings import ServiceSettings, load_settings
from shared.web import create_service_app, serving
from support import FakeClock, eventually

T = TypeVar("T")
ISSUER = "http://passport.test/oauth"


@dataclass
class Received:
    """One request as it came in."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """An HTTP server that records what it gets and answers as told: `statuses` in turn, then 200 for ever."""

    port: int = 0
    received: list[Received] = field(default_factory=list)
    statuses: deque[int] = field(default_factory=deque)
    hold: asyncio.Event | None = None
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def start(self) -> None:
        app = create_service_app(title="receiver", service="receiver", lifespan=None, checks={})
        app.add_route("/hook", self._take, methods=["POST"])
        app.add_route("/other", self._take, methods=["GET", "POST"])
        address = await self._running.enter_async_context(
            serving(app, load_settings(ServiceSettings, bind_port=self.port))
        )
        assert address.port
        self.port = address.port

    async def stop(self) -> None:
        await self._running.aclose()

    async def _take(self, request: Request) -> Response:
        query = request.scope["query_string"].decode()
        url = f"http://{request.headers['host']}{request.url.path}?{query}"
        headers = dict(request.headers)
        self.received.append(Received(request.method, url, headers, await request.body()))
        if self.hold is not None:
            await self.hold.wait()
        status = self.statuses.popleft() if self.statuses else 200
        return Response("thank you", status_code=status, headers={"Location": "/other"} if status == 302 else {})


@dataclass
class Issuer:
    """Passport as far as the service needs it: a key, its public half over HTTP, and tokens."""

    url: str
    key: ECKey

    def token(self, *scopes: str, audience: str = "hooks") -> str:
        now = int(time.time())
        claims = {
            "iss": ISSUER, "aud": [audience], "sub": "builder", "client_id": "builder", "scope": " ".join(scopes),
            "iat": now, "exp": now + 300, "jti": "1",
        }  # fmt: skip
        return jwt.encode({"alg": "ES256", "kid": self.key.kid, "typ": "at+jwt"}, claims, self.key)


@dataclass
class Service:
    """The service under test. `client` speaks to its API."""

    client: httpx.AsyncClient
    bus: InProcessBus
    app: FastAPI

    async def release(self, *, app: str = "shop", release: int = 4, sha: str = "35b3726") -> Envelope:
        """Let the controller tell of a new release."""
        event = ReleaseCreated(app=app, version=release, sha=sha, actor="mina", summary=f"mina deployed {sha}")
        envelope = Envelope.wrap(event, source="/services/controller")
        await self.bus.publish(envelope)
        return envelope

    async def deliveries(self, **query: Any) -> list[dict[str, Any]]:
        answer = await self.client.get("/deliveries", params=query)
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["deliveries"]
        return found


async def as_time_goes(clock: FakeClock, by: timedelta, predicate: Callable[[], Awaitable[T]]) -> T:
    """What `eventually` gives, while time passes: whoever begins to sleep meanwhile is woken as well."""

    async def look() -> T:
        clock.advance(by)
        return await predicate()

    return await eventually(look)


class Start(Protocol):
    """`async with start(urls=[...], secret=...) as service`: the service as its own process would run it."""

    def __call__(self, **overrides: Any) -> AbstractAsyncContextManager[Service]: ...
