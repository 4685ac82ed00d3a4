"""Makes the controller's application. Importing this does nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from controller.api import (
    accounts,
    apps,
    compat,
    exec_streams,
    hooks,
    log_streams,
    login,
    openapi,
    perms,
    processes,
    releases,
)
from controller.api.transport import TransportMiddleware
from controller.api.websocket_protocol import SERVER_OPTIONS
from controller.engine.port import Engine
from controller.settings import Settings
from controller.worker import open_process, working
from shared.bus import Bus
from shared.clock import Clock
from shared.web import create_service_app


def create_app(
    settings: Settings, *, bus: Bus | None = None, engine: Engine | None = None, clock: Clock | None = None
) -> FastAPI:
    """The controller. Its lifespan opens and closes everything; with `run_worker` it does the background work too.

    A `bus` or an `engine` that is given belongs to the caller, who starts and closes it.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            context = await stack.enter_async_context(open_process(settings, bus=bus, engine=engine, clock=clock))
            app.state.context = context
            if settings.run_worker:
                await stack.enter_async_context(working(context))
            yield

    async def database() -> None:
        await app.state.context.database.ping()

    app = create_service_app(
        title="Workflow controller",
        service="controller",
        lifespan=lifespan,
        checks={"database": database},
        server_options=SERVER_OPTIONS,
    )
    compat.install(app)
    _add_routers(app)
    openapi.install(app, description="The REST API 2.3 of Drycc Workflow, and what Workflow adds to it.")
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=["content-type", "accept", "origin", "authorization", "host"],
        expose_headers=["DRYCC_API_VERSION", "DRYCC_PLATFORM_VERSION"],
    )
    app.add_middleware(TransportMiddleware)  # the last one added is the outermost
    return app


def _add_routers(app: FastAPI) -> None:
    for module in (accounts, login, apps, perms, releases, processes, hooks, log_streams, exec_streams):
        app.include_router(module.router)
