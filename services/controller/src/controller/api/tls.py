"""TLS settings of an app, and what the cluster says of its certificates."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_domains
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents_domains import TlsDocument, TlsRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.services.access import Access, Action
from controller.services.tls import TlsSettings

router = APIRouter(prefix="/v2/apps/{app_id:app}/tls", route_class=IdempotentRoute)


@router.get("", **doc(TlsDocument, errors=(404,)))
async def get_tls(app_id: str, who: Who, ctx: Ctx) -> Response:
    """The settings, and how issuer and certificates fare."""
    async with ctx.unit_of_work.reading() as uow:
        await Access(uow).app(app_id, who, Action.VIEW)
        tls = await TlsSettings(uow).get(app_id)
    network = await ctx.engine.network(app_id)
    return JSONResponse(present_domains.tls(tls, network.tls_events))


@router.post("", **doc(TlsDocument, status=201, body=TlsRequest, errors=(404, 409)))
async def change_tls(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Change some of the settings. There are no events yet: what the cluster says now is about the former ones."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    tls = await TlsSettings(uow).change(app_id, body, actor=who)
    return JSONResponse(present_domains.tls(tls, ()), status_code=201)
