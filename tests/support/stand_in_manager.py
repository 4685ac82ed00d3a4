"""A billing manager below a path of its own: it keeps the usage records that it is sent, and answers as it is told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import Response

from shared.settings import ServiceSettings, load_settings
from shared.web import create_service_app, serving

PREFIX = "/billing"


@dataclass
class StandInManager:
    """What it was sent and what it took. `statuses` are the answers to the next posts, 201 when there is none left; a
    batch with a record of an app in `poison` is a 400. With `hold` it takes what comes and does not answer."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    poison: set[str] = field(default_factory=set)
    hold: asyncio.Event | None = None
    sizes: list[int] = field(default_factory=list)
    credentials: set[str] = field(default_factory=set)
    taken: list[dict[str, Any]] = field(default_factory=list)

    def app(self) -> FastAPI:
        """Its endpoints."""
        app = create_service_app(title="manager", service="manager", lifespan=_nothing, checks={})

        @app.get(f"{PREFIX}/users/{{user_id}}/status/")
        async def status(user_id: int) -> dict[str, object]:
            return {"is_active": True, "message": str(user_id)}

        @app.post(f"{PREFIX}/measurements/")
        async def measurements(request: Request) -> Response:
            records = await request.json()
            self.sizes.append(len(records))
            self.credentials.add(request.headers["authorization"])
            status = self.statuses.pop(0) if self.statuses else 201
            if any(record["app_id"] in self.poison for record in records):
                status = 400
            if status == 201:
                self.taken += records
            if self.hold is not None:
                await self.hold.wait()
            return Response(status_code=status)

        return app


@asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def running_manager() -> AsyncIterator[StandInManager]:
    """One that listens on a port of this machine."""
    manager = StandInManager()
    async with serving(manager.app(), load_settings(ServiceSettings, bind_port=0)) as address:
        manager.url = f"{address.base_url}{PREFIX}"
        yield manager
