"""Makes the FastAPI application that a service adds its routers to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from fastapi import FastAPI, Request
from starlette.responses import PlainTextResponse, Response

from shared import metrics
from shared.bus.port import describe
from shared.errors import UnavailableError
from shared.logging import get_logger
from shared.problem import install_problem_handlers, problem_response
from shared.web.middleware import RequestMiddleware

Check = Callable[[], Awaitable[None]]
CHECK_TIMEOUT_SECONDS: Final = 2.0
log = get_logger(__name__)


class NotReadyError(UnavailableError):
    """Something that the service needs does not answer."""

    code = "not-ready"
    title = "The service is not ready"


def create_service_app(
    *,
    title: str,
    service: str,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Any]] | None,
    checks: Mapping[str, Check],
    openapi_url: str | None = None,
    server_options: Mapping[str, Any] | None = None,
) -> FastAPI:
    """An application with /healthz, /readiness, /metrics, request ids, an access log and problem documents.

    `checks` name what readiness asks; each may take two seconds. There are no documentation pages, and no redirects
    between paths with and without a trailing slash. A service may replace the exception handlers with its own.
    `server_options` are settings of uvicorn that the service depends on (its websocket implementation, say).
    """
    app = FastAPI(
        title=title,
        lifespan=lifespan,
        openapi_url=openapi_url,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        # Metrics and logs are ours; asking for a provider that is not there costs a search of the path per request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.service = service
    app.state.server_options = dict(server_options or {})
    install_problem_handlers(app)
    app.add_middleware(RequestMiddleware, service=service)
    app.add_route("/healthz", _healthz, methods=["GET"], include_in_schema=False)
    app.add_route("/readiness", _readiness(checks), methods=["GET"], include_in_schema=False)
    app.add_route("/metrics", _metrics, methods=["GET"], include_in_schema=False)
    return app


async def _healthz(_request: Request) -> Response:
    return PlainTextResponse("OK")


async def _metrics(_request: Request) -> Response:
    body, content_type = metrics.render()
    return Response(body, headers={"content-type": content_type})


def _readiness(checks: Mapping[str, Check]) -> Callable[[Request], Awaitable[Response]]:
    async def readiness(_request: Request) -> Response:
        results = await asyncio.gather(*(_ask(check) for check in checks.values()))
        failing = {name: why for name, why in zip(checks, results, strict=True) if why is not None}
        if not failing:
            return PlainTextResponse("OK")
        log.warning("not_ready", failing=failing)
        return problem_response(NotReadyError(f"not ready: {', '.join(failing)}", failing=sorted(failing)))

    return readiness


async def _ask(check: Check) -> str | None:
    """Why `check` fails, or None when it does not."""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_SECONDS):
            await check()
    except Exception as exc:
        return describe(exc)
    return None
