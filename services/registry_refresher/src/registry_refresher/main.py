"""The FastAPI application of the registry refresher: health and metrics beside the consumer and the loop."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI

from registry_refresher.apps import KnownApps
from registry_refresher.refresh import Refresher
from registry_refresher.settings import Settings
from shared.bus import Bus, connect_bus
from shared.clock import Clock, SystemClock
from shared.tasks import TaskOwner
from shared.web import create_service_app


def create_app(settings: Settings, *, bus: Bus | None = None, clock: Clock | None = None) -> FastAPI:
    """The application; its lifespan runs the consumer and the loop. A bus handed in is the caller's to close."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(TaskOwner())
            used = bus
            if used is None:
                used = connect_bus(settings.bus_url)
                stack.push_async_callback(used.close)
            apps = KnownApps()
            await apps.subscribe(used)
            interval = timedelta(seconds=settings.interval_seconds)
            tasks.start(
                "registry_refresher.passes", Refresher(apps, interval=interval, clock=clock or SystemClock()).run
            )
            app.state.bus = used
            app.state.apps = apps
            yield

    async def bus_answers() -> None:
        await app.state.bus.ping()

    app = create_service_app(
        title="Workflow registry refresher",
        service="registry_refresher",
        lifespan=lifespan,
        checks={"bus": bus_answers},
    )
    return app
