"""Gateways: the ports on which requests come in."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from controller.api import present_ingress as present
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Page
from controller.api.documents_ingress import GatewayDocument, GatewayRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.services.access import Access, Action
from controller.services.gateways import Gateways

router = APIRouter(prefix="/v2/apps/{app_id:app}/gateways", route_class=IdempotentRoute)


@router.get("", **doc(Page[GatewayDocument], errors=(404,)))
async def list_gateways(app_id: str, who: Who, ctx: Ctx, paging: Paging) -> Response:
    """The app's gateways, the newest first, with the addresses that they have."""
    async with ctx.unit_of_work.reading() as uow:
        await Access(uow).app(app_id, who, Action.VIEW)
        page = await Gateways(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    # The engine is asked when no transaction is open.
    addresses = (await ctx.engine.network(app_id)).addresses
    shown = [present.gateway(view, addresses.get(view.gateway.name, ())) for view in page.items]
    return paging.answer(shown, total=page.total)


@router.post("", **doc(status=201, body=GatewayRequest, errors=(404,)))
async def add_gateway_port(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Have a gateway listen on one more port; one of a new name is made."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Gateways(uow).add_port(app_id, body, actor=who)
    return Response(status_code=201)


@router.delete("", **doc(status=204, body=GatewayRequest, errors=(404,)))
async def remove_gateway_port(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Have a gateway no longer listen on a port; it goes with its last one."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Gateways(uow).remove_port(app_id, body, actor=who)
    return Response(status_code=204)
