"""Metrics of an app, out of the platform's metrics store."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from controller.api.deps import Ctx, Who
from controller.api.documents_jobs import PtypeUsage
from controller.api.openapi import doc
from controller.context import Context
from controller.domain.accounts import Account
from controller.domain.metrics import Usage, check_usage_query
from controller.services.access import Access, Action
from shared.errors import UnavailableError

router = APIRouter(prefix="/v2/apps/{app_id:app}/metrics")
NO_STORE: Final = "this platform collects no metrics: its operator can set CONTROLLER_PROMETHEUS_URL"
_QUERY: Final = {
    "start": "Unix seconds; an hour ago unless given.",
    "stop": "Unix seconds; now unless given.",
    "step": "Seconds between samples, 1 to 30; 14 unless given.",
    "every": "What each sample is the mean of, in minutes; `5m` unless given.",
}


@router.get("", **doc(str, media_type="text/plain", errors=(404,)))
async def last_samples(app_id: str, who: Who, ctx: Ctx) -> Response:
    """The last samples, one a line; nothing when no metrics are collected or none are configured."""
    await _authorise(ctx, app_id, who)
    text = "" if ctx.metrics is None else await ctx.metrics.last_samples(app_id)
    return PlainTextResponse(text)


@router.get("/{ptype:name}/status", **doc(PtypeUsage, errors=(404, 422), query=_QUERY))
async def usage(app_id: str, ptype: str, who: Who, ctx: Ctx, request: Request) -> Response:
    """What the instances of a process type used: `start` and `stop` in unix seconds, a sample each `step` seconds
    (1-30), each over `every` (`5m`)."""
    await _authorise(ctx, app_id, who)
    given = {name: request.query_params[name] for name in _QUERY if name in request.query_params}
    query = check_usage_query(given, now=int(ctx.clock.now().timestamp()))
    if ctx.metrics is None:
        raise UnavailableError(NO_STORE)
    asked = [f"{name}={value}" for name, value in given.items()]
    return JSONResponse(_document(app_id, ptype, await ctx.metrics.usage(app_id, ptype, query, key=asked)))


def _document(app_id: str, ptype: str, usage: Usage) -> PtypeUsage:
    return {
        "id": app_id,
        "ptype": ptype,
        "usage": {
            "cpus": dict(usage.cpus),
            "memory": dict(usage.memory),
            "networks": {"receive": dict(usage.receive), "transmit": dict(usage.transmit)},
        },
    }


async def _authorise(ctx: Context, app_id: str, who: Account) -> None:
    async with ctx.unit_of_work.reading() as uow:
        await Access(uow).app(app_id, who, Action.VIEW)
