"""Talks to an application in this process, with its lifespan running."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI


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
