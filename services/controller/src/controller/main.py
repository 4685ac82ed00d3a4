"""Makes the controller's application. Importing this does nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from controller.api import (
    accounts,
    apps,
    audit,
    certs,
    compat,
    domains,
    exec_streams,
    files,
    gateways,
    hooks,
    jobs,
    limits,
    log_streams,
    login,
    manager,
    metrics,
    openapi,
    perms,
    processes,
    published,
    releases,
    resources,
    routes,
    services,
    tls,
    users,
    volumes,
)
from controller.api.idempotency import REPLAYED
from controller.api.origins import OriginMiddleware
from controller.api.ratelimit import RateLimitMiddleware
from controller.api.transport import TransportMiddleware
from controller.api.websocket_protocol import SERVER_OPTIONS
from controller.engine.port import Engine
from controller.settings import Settings
from controller.worker import open_process, working
from shared.bus import Bus
from shared.clock import Clock
from shared.tasks import TaskOwner
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
            process = open_process(settings, is_worker=settings.run_worker, bus=bus, engine=engine, clock=clock)
            context = await stack.enter_async_context(process)
            app.state.context = context
            tasks = await stack.enter_async_context(TaskOwner())
            tasks.start("sign_ins", context.authenticator.listen)
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
    app.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_methods=["*"],
        allow_headers=[
            *("content-type", "accept", "origin", "authorization", "host"),
            *("idempotency-key", "if-match", "if-none-match"),
        ],
        expose_headers=["DRYCC_API_VERSION", "DRYCC_PLATFORM_VERSION", "ETag", "Retry-After", REPLAYED],
    )
    app.add_middleware(TransportMiddleware)  # the last one added is the outermost
    # Below the layer that gives requests their ids, counts them and writes the access log.
    app.user_middleware += [
        Middleware(OriginMiddleware, settings=settings),
        Middleware(RateLimitMiddleware, settings=settings),
    ]
    return app


def render_openapi() -> str:
    """The OpenAPI document as the repository keeps it (docs/openapi.json); needs neither settings nor a database."""
    app = FastAPI(openapi_url=None)
    _add_routers(app)
    return openapi.rendered(app)


def _add_routers(app: FastAPI) -> None:
    # Their routes, and not the routers themselves: a router that is included matches all of its routes twice over.
    for module in (
        *(apps, releases, processes, users, accounts),  # asked for most: a route is looked for in this order
        *(audit, manager, login, perms, jobs, metrics, hooks, log_streams, exec_streams, limits, volumes, files),
        *(resources, domains, certs, tls, services, gateways, routes, published),
    ):
        app.router.routes.extend(module.router.routes)
