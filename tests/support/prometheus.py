"""A metrics store below a path of its own: it takes Prometheus' queries and answers with what the tests put into it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from starlette.responses import JSONResponse, Response

from shared.settings import ServiceSettings, load_settings
from shared.web import create_service_app, serving

PREFIX = "/monitoring/prom"


@dataclass
class StandInPrometheus:
    """What it was asked, and what it answers: series by the beginning of the metric's name in the query."""

    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    series: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    broken: Response | None = None

    def app(self) -> FastAPI:
        """Its two endpoints."""
        app = create_service_app(title="metrics", service="prometheus", lifespan=_nothing, checks={})

        @app.get(f"{PREFIX}/api/v1/{{kind}}")
        async def query(kind: str, request: Request) -> Response:
            parameters = dict(request.query_params)
            self.asked.append((kind, parameters))
            if self.broken is not None:
                return self.broken
            found = [series for text, series in self.series.items() if text in parameters["query"]]
            result = [each for series in found for each in series]
            kinds = {"query": "vector", "query_range": "matrix"}
            return JSONResponse({"status": "success", "data": {"resultType": kinds[kind], "result": result}})

        return app


@asynccontextmanager
async def _nothing(_app: FastAPI) -> AsyncIterator[None]:
    yield


@asynccontextmanager
async def running_prometheus() -> AsyncIterator[StandInPrometheus]:
    """One that listens on a port of this machine."""
    prometheus = StandInPrometheus()
    settings = load_settings(ServiceSettings, bind_port=0)
    async with serving(prometheus.app(), settings) as address:
        prometheus.url = f"{address.base_url}{PREFIX}"
        yield prometheus
