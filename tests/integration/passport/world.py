"""A passport service in this process, on a real database."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import re
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import unescape
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import httpx
from cryptography.fernet import Fernet
from fastapi import FastAPI

from passport.context import Context
from passport.main import create_app
from passport.settings import Settings
from shared.bus import Bus

ORIGIN: Final = "http://passport.localhost"
ISSUER: Final = f"{ORIGIN}/oauth"
CALLBACK: Final = "https://app.example.com/callback"
SECRETS: Final = {name: f"{name}-" + "s" * 40 for name in ("controller", "builder", "partner", "other")}
ADMIN: Final = ("admin", "correct horse battery")


def client_settings() -> list[dict[str, Any]]:
    """The platform's own client, a service, a foreign client that needs consent, and a public one."""
    return [
        {
            "client_id": "controller",
            "client_secret": SECRETS["controller"],
            "name": "Workflow",
            "redirect_uris": [CALLBACK],
            "grants": ["authorization_code", "password", "refresh_token"],
            "scopes": ["openid", "profile", "email"],
            "audiences": ["controller"],
            "skip_consent": True,
        },
        {
            "client_id": "builder",
            "client_secret": SECRETS["builder"],
            "name": "Builder",
            "grants": ["client_credentials"],
            "scopes": ["controller:hook"],
            "audiences": ["controller", "logs"],
        },
        {
            "client_id": "partner",
            "client_secret": SECRETS["partner"],
            "name": "Partner <b>App</b>",
            "redirect_uris": ["https://partner.example.com/cb", "https://partner.example.com/other"],
            "grants": ["authorization_code"],
            "scopes": ["openid", "email"],
            "legacy_claims": False,
        },
        {
            "client_id": "native",
            "name": "Native program",
            "redirect_uris": ["http://127.0.0.1/cb"],
            "grants": ["authorization_code", "refresh_token"],
            "scopes": ["openid"],
            "skip_consent": True,
        },
    ]


class MovableClock:
    """The time of this machine, moved ahead by what a test asks for."""

    def __init__(self) -> None:
        self.ahead = timedelta(0)
        self._stopped: datetime | None = None

    def now(self) -> datetime:
        return (self._stopped or datetime.now(UTC)) + self.ahead

    def stop(self) -> None:
        """Stand still, however long what follows takes."""
        self._stopped = datetime.now(UTC)

    async def sleep(self, delay: timedelta) -> None:
        await asyncio.sleep(delay.total_seconds())


@dataclass
class Passport:
    """The running service, a browser that keeps cookies, and what tests ask of both."""

    app: FastAPI
    settings: Settings
    browser: httpx.AsyncClient
    clock: MovableClock

    @property
    def context(self) -> Context:
        context: Context = self.app.state.context
        return context

    def program(self) -> httpx.AsyncClient:
        """A client without the browser's cookies."""
        transport = httpx.ASGITransport(app=self.app, client=("203.0.113.9", 4711))
        return httpx.AsyncClient(transport=transport, base_url=ORIGIN)

    async def token(self, client_id: str, /, **form: str) -> httpx.Response:
        """Ask the token endpoint, with HTTP Basic."""
        return await self.ask(client_id, form)

    async def ask(
        self, client_id: str, form: Mapping[str, str], *, public: bool = False, headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """Ask the token endpoint: a public client names itself in the body."""
        fields = {"client_id": client_id, **form} if public else dict(form)
        auth = httpx.Auth() if public else httpx.BasicAuth(client_id, SECRETS[client_id])
        async with self.program() as program:
            return await program.post("/oauth/token/", data=fields, headers=headers, auth=auth)

    async def get(self, path: str, token: str) -> httpx.Response:
        """Get `path` with an access token and no cookies."""
        async with self.program() as program:
            return await program.get(path, headers={"Authorization": f"Bearer {token}"})

    async def code(self, challenge: str, **more: str) -> str:
        """An authorization code for the controller; somebody is logged in."""
        response = await self.authorize(**code_request(challenge, **more))
        return answer(response)["code"]

    async def exchange(self, code: str, verifier: str, **more: str) -> httpx.Response:
        """Exchange a code of the controller."""
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK, "code_verifier": verifier}
        return await self.token("controller", **(fields | more))

    async def password_tokens(self, *, scope: str = "openid") -> dict[str, Any]:
        """Tokens of the administrator by the password grant."""
        response = await self.token(
            "controller", grant_type="password", username=ADMIN[0], password=ADMIN[1], scope=scope
        )
        assert response.status_code == 200, response.text
        body: dict[str, Any] = response.json()
        return body

    async def log_in(self, username: str = ADMIN[0], password: str = ADMIN[1], *, next_: str = "/") -> httpx.Response:
        """Fill in the login page."""
        form = await self.browser.get("/user/login/", params={"next": next_})
        fields = {**hidden_fields(form.text), "username": username, "password": password}
        return await self.browser.post("/user/login/", data=fields)

    async def authorize(self, **parameters: str) -> httpx.Response:
        """Send the browser to the authorization endpoint."""
        return await self.browser.get("/oauth/authorize/", params=parameters)


def hidden_fields(html: str) -> dict[str, str]:
    """The hidden inputs of a page."""
    found = re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)">', html)
    return {unescape(name): unescape(value) for name, value in found}


def pkce() -> tuple[str, str]:
    """A code verifier and its S256 challenge."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    return verifier, challenge


def code_request(challenge: str, **more: str) -> dict[str, str]:
    """A sound authorization request of the controller."""
    return {
        "response_type": "code",
        "client_id": "controller",
        "redirect_uri": CALLBACK,
        "scope": "openid",
        "state": "st ate&1",
        "nonce": "n-1",
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        **more,
    }


def answer(response: httpx.Response) -> dict[str, str]:
    """The parameters with which the browser is sent back."""
    query = parse_qs(urlsplit(response.headers["location"]).query)
    return {name: values[0] for name, values in query.items()}


def make_settings(database_url: str, **overrides: object) -> Settings:
    values: dict[str, Any] = {
        "database_url": database_url,
        "issuer": ISSUER,
        "encryption_keys": [Fernet.generate_key().decode()],
        "admin_username": ADMIN[0],
        "admin_password": ADMIN[1],
        "admin_email": "admin@example.com",
        "clients": client_settings(),
    }
    return Settings(**(values | overrides))


@asynccontextmanager
async def running(settings: Settings, *, bus: Bus | None = None) -> AsyncIterator[Passport]:
    """The service with its lifespan; the bus is in this process unless one is given."""
    clock = MovableClock()
    app = create_app(settings, bus=bus, clock=clock)
    transport = httpx.ASGITransport(app=app, client=("198.51.100.7", 4711))
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url=ORIGIN) as browser:
        yield Passport(app, settings, browser, clock)
