"""The controller and the real passport together: every way to log in, and what ends a login."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import timedelta
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest_asyncio
from cryptography.fernet import Fernet
from sqlalchemy import text

from passport.main import create_app as create_passport
from passport.settings import Settings as PassportSettings
from shared.bus import InProcessBus
from shared.settings import load_settings
from shared.web import serving
from support.controller_api import PUBLIC_URL, Api, running_api
from support.fixtures import MakeDatabase

ORIGIN = "http://drycc-passport.localhost"
SECRET = "a secret of the controller that is long enough"
PASSWORD = "correct horse battery staple"


def passport_settings(database_url: str) -> PassportSettings:
    """A passport with an administrator and the controller as its client."""
    client = {
        "client_id": "controller",
        "client_secret": SECRET,
        "name": "Workflow",
        "redirect_uris": [f"{PUBLIC_URL}/v2/complete/drycc/"],
        "grants": ["authorization_code", "password", "refresh_token"],
        "scopes": ["openid", "profile", "email"],
        "audiences": ["controller"],
        "skip_consent": True,
    }
    builder = {
        "client_id": "builder",
        "client_secret": SECRET + " 2",
        "name": "Builder",
        "grants": ["client_credentials"],
        "scopes": ["controller:hook"],
        "audiences": ["controller"],
    }
    return load_settings(
        PassportSettings,
        database_url=database_url,
        bind_port=0,
        issuer=f"{ORIGIN}/oauth",
        encryption_keys=[Fernet.generate_key().decode()],
        admin_username="admin",
        admin_password=PASSWORD,
        clients=[client, builder],
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def bus() -> AsyncIterator[InProcessBus]:
    """What both publish to."""
    bus = InProcessBus()
    yield bus
    await bus.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def passport(make_module_database: MakeDatabase, bus: InProcessBus) -> AsyncIterator[str]:
    """Where passport really listens."""
    settings = passport_settings(await make_module_database("passport"))
    async with serving(create_passport(settings, bus=bus), settings) as address:
        yield address.base_url


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(make_module_database: MakeDatabase, passport: str, bus: InProcessBus) -> AsyncIterator[Api]:
    """The controller that trusts it."""
    url = await make_module_database("controller")
    facts: dict[str, Any] = {"passport_url": passport, "issuer": f"{ORIGIN}/oauth", "passport_client_secret": SECRET}
    async with running_api(url, bus=bus, **facts) as api:
        yield api


def hidden(page: str) -> dict[str, str]:
    """The hidden fields of the page's form."""
    found = re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page)
    return {name: unescape(value) for name, value in found}


async def token_of(api: Api, key: str) -> str:
    """What the client gets by polling."""
    response = await api.anonymous.get(f"/v2/auth/token/{key}/?alias=workflow-cli")
    assert response.status_code == 200
    return str(response.json()["token"])


async def through_passport(passport: str, location: str) -> str:
    """Log in as the administrator in a browser that was sent to `location`; where it is sent in the end."""
    headers = {"host": urlsplit(ORIGIN).netloc}
    async with httpx.AsyncClient(base_url=passport, headers=headers) as browser:
        asked = await browser.get(location.removeprefix(ORIGIN))
        assert asked.status_code in (302, 303), asked.text
        login = await browser.get(asked.headers["location"].removeprefix(ORIGIN))
        form = hidden(login.text) | {"username": "admin", "password": PASSWORD}
        # Host-only cookies of the real name, on the address that stands for it here.
        done = await browser.post("/user/login/", data=form, headers={"origin": ORIGIN})
        assert done.status_code in (302, 303), done.text
        back = await browser.get(done.headers["location"].removeprefix(ORIGIN))
        assert back.status_code in (302, 303), back.text
        return str(back.headers["location"])


async def test_password_login(api: Api) -> None:
    body = {"username": "admin", "password": PASSWORD}
    started = await api.anonymous.post("/v2/auth/login/", json=body)
    assert started.status_code == 200, started.text
    async with api.client(authorization=f"token {await token_of(api, started.json()['key'])}") as client:
        me = (await client.get("/v2/auth/whoami/")).json()
    assert (me["username"], me["is_superuser"], me["is_active"]) == ("admin", True, True)


async def test_wrong_password(api: Api) -> None:
    response = await api.anonymous.post("/v2/auth/login/", json={"username": "admin", "password": "wrong"})
    assert response.status_code == 400
    assert response.json() == {"non_field_errors": ["Unable to log in with provided credentials."]}


async def test_browser_login(api: Api, passport: str) -> None:
    started = await api.anonymous.post("/v2/auth/login/")
    key = parse_qs(urlsplit(started.headers["location"]).query)["key"][0]
    async with api.client() as browser:
        page = await browser.get(f"/v2/login/drycc/?key={key}")
        away = await browser.post("/v2/login/drycc/", data=hidden(page.text) | {"answer": "yes"})
        back = await through_passport(passport, away.headers["location"])
        assert back.startswith(f"{PUBLIC_URL}/v2/complete/drycc/?")
        done = await browser.get(back)
        assert (done.status_code, done.headers["location"]) == (302, f"{ORIGIN}/user/login/done/")
    async with api.client(authorization=f"token {await token_of(api, key)}") as client:
        assert (await client.get("/v2/auth/whoami/")).json()["username"] == "admin"


async def test_tokens_are_confirmed_and_end(api: Api) -> None:
    body = {"username": "admin", "password": PASSWORD}
    key = (await api.anonymous.post("/v2/auth/login/", json=body)).json()["key"]
    async with api.client(authorization=f"token {await token_of(api, key)}") as client:
        await _grow_old(api)
        assert (await client.get("/v2/")).status_code == 200
        async with api.context.unit_of_work() as uow:
            row = (await uow.session.execute(text("SELECT confirmed_at FROM users"))).scalar_one()
        assert uow.now() - row < timedelta(seconds=30)
        newest = (await client.get("/v2/tokens/?limit=1000")).json()["results"][-1]
        assert (await client.delete(f"/v2/tokens/{newest['uuid']}/")).status_code == 204
        assert (await client.get("/v2/")).status_code == 401


async def _grow_old(api: Api) -> None:
    """Pretend that nobody has asked passport for two minutes."""
    async with api.context.database.transaction() as session:
        await session.execute(text("UPDATE users SET confirmed_at = confirmed_at - interval '2 minutes'"))
        (user_id,) = (await session.scalars(text("SELECT id FROM users"))).all()
    api.context.authenticator.forget_user(user_id)


async def test_services_use_their_own_tokens(api: Api, passport: str) -> None:
    form = {"grant_type": "client_credentials", "scope": "controller:hook"}
    async with httpx.AsyncClient(base_url=passport, auth=("builder", SECRET + " 2")) as builder:
        granted = await builder.post("/oauth/token/", data=form)
    assert granted.status_code == 200, granted.text
    async with api.client(authorization=f"Bearer {granted.json()['access_token']}") as client:
        assert (await client.get("/v2/hooks/key/SHA256:nope")).json() == "No Key matches the given query."
        assert (await client.get("/v2/apps/")).status_code == 403
