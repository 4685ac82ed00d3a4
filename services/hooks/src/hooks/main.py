"""The FastAPI application of the hooks service."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from hooks.api import deliveries
from hooks.context import open_context
from hooks.settings import Settings
from shared.bus import Bus
from shared.clock import Clock
from shared.web import create_service_app


def create_app(settings: Settings, *, bus: Bus | None = None, clock: Clock | None = None) -> FastAPI:
    """The application; its lifespan runs the consumer and the sender. The database must have been migrated."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_context(settings, bus=bus, clock=clock) as context:
            app.state.context = context
            yield

    async def database_answers() -> None:
        await app.state.context.database.ping()

    async def bus_answers() -> None:
        await app.state.context.bus.ping()

    app = create_service_app(
        title="Workflow hooks",
        service="hooks",
        lifespan=lifespan,
        checks={"database": database_answers, "bus": bus_answers},
    )
    app.include_router(deliveries.router)
    return app
