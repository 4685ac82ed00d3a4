"""Fixtures of the hooks service: everything on both sides of it is real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio
from joserfc.jwk import ECKey
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from hooks.main import create_app
from hooks.settings import Settings
from integration.hooks.actors import ISSUER, Issuer, Receiver, Service, Start
from shared.bus import InProcessBus
from shared.settings import ServiceSettings, load_settings
from shared.testing.clock import FakeClock
from shared.web import create_service_app, serving
from support.fixtures import MakeDatabase


@pytest_asyncio.fixture(loop_scope="session")
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver that runs."""
    receiver = Receiver()
    await receiver.start()
    try:
        yield receiver
    finally:
        if receiver.hold is not None:
            receiver.hold.set()
        await receiver.stop()


@pytest_asyncio.fixture(loop_scope="session", scope="module")
async def issuer() -> AsyncIterator[Issuer]:
    """An issuer that publishes its key."""
    key = ECKey.generate_key("P-256", {"use": "sig", "alg": "ES256"}, auto_kid=True)
    app = create_service_app(title="issuer", service="issuer", lifespan=None, checks={})

    async def jwks(_request: Request) -> Response:
        return JSONResponse({"keys": [key.as_dict(private=False)]})

    app.add_route("/oauth/.well-known/jwks.json", jwks)
    async with serving(app, load_settings(ServiceSettings, bind_port=0)) as address:
        yield Issuer(address.base_url, key)


@pytest.fixture
def clock() -> FakeClock:
    """The time of the service."""
    return FakeClock()


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(make_database: MakeDatabase) -> str:
    """A new database with the tables of the service."""
    return await make_database("hooks")


@pytest.fixture
def start(database_url: str, issuer: Issuer, clock: FakeClock) -> Start:
    """`async with start(urls=[...], secret=...) as service`: the service as its own process would run it."""

    @asynccontextmanager
    async def start_service(**overrides: Any) -> AsyncIterator[Service]:
        settings = load_settings(
            Settings, database_url=database_url, passport_url=issuer.url, issuer=ISSUER, **overrides
        )
        bus = InProcessBus()
        app = create_app(settings, bus=bus, clock=clock)
        transport = httpx.ASGITransport(app=app)
        token = issuer.token("hooks:read", "hooks:write")
        headers = {"Authorization": f"Bearer {token}"}
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=transport, base_url="http://hooks", headers=headers) as client,
        ):
            yield Service(client, bus, app)

    return start_service
