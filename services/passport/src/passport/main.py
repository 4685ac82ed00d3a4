"""The FastAPI application of passport."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from passport.api import account, oauth, openid, pages, registration
from passport.api.headers import HeadersMiddleware
from passport.context import open_service
from passport.settings import Settings
from shared.bus import Bus
from shared.clock import Clock
from shared.web import create_service_app


def create_app(settings: Settings, *, bus: Bus | None = None, clock: Clock | None = None) -> FastAPI:
    """The application; its lifespan sets up keys, clients and the administrator, and runs relay and janitor.

    The database must have been migrated.
    """
    # Authlib's debug messages hold the tokens that it issues.
    logging.getLogger("authlib").setLevel(logging.WARNING)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_service(settings, bus=bus, clock=clock) as context:
            app.state.context = context
            yield

    async def database_answers() -> None:
        await app.state.context.database.ping()

    options = {} if settings.trusted_proxies is None else {"forwarded_allow_ips": settings.trusted_proxies}
    app = create_service_app(
        title="Workflow passport",
        service="passport",
        lifespan=lifespan,
        checks={"database": database_answers},
        server_options=options,
    )
    for module in (oauth, openid, account, pages, registration):
        app.include_router(module.router)
    app.add_middleware(HeadersMiddleware, is_https=settings.is_https)
    return app
