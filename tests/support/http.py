"""Talks to an application in this process, or lets others do so."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import uvicorn
from fastapi import FastAPI

from shared.testing.wait import eventually


@asynccontextmanager
async def client_for(
    app: FastAPI, *, base_url: str = "http://testserver", auth: httpx.Auth | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of `app` without a socket between them. The lifespan runs in the task of the test."""
    transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 4711))
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url=base_url, auth=auth) as client,
    ):
        yield client


@asynccontextmanager
async def reachable(app: FastAPI, *, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[str]:
    """URL of an application that runs already, during the block."""
    listener = socket.create_server((host, port))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_config=None))
    serving = asyncio.create_task(server.serve([listener]))
    try:
        await eventually(lambda: server.started)
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await serving
