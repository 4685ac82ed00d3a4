"""The FastAPI application of the builder; its lifespan runs the SSH server and everything else."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI

from builder.api import builds, registry
from builder.context import open_context
from builder.runner.port import Runner
from builder.settings import Settings
from shared.bus import Bus
from shared.web import create_service_app


def create_app(settings: Settings, *, bus: Bus | None = None, runner: Runner | None = None) -> FastAPI:
    """The application. The database must have been migrated; `runner` replaces the one that settings name."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_context(settings, bus=bus, runner=runner) as context:
            app.state.context = context
            yield

    async def database_answers() -> None:
        await app.state.context.database.ping()

    async def bus_answers() -> None:
        await app.state.context.bus.ping()

    async def ssh_listens() -> None:
        await app.state.context.ssh.check()

    app = create_service_app(
        title="Workflow builder",
        service="builder",
        lifespan=lifespan,
        checks={"database": database_answers, "bus": bus_answers, "ssh": ssh_listens},
    )
    app.include_router(builds.router)
    app.include_router(registry.router)
    return app
