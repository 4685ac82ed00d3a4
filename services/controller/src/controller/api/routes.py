"""Routes: which requests of a gateway go to which service."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_ingress as present
from controller.api.body import AnyBody, Body, parse
from controller.api.deps import Who, Work
from controller.api.documents import Page
from controller.api.documents_ingress import ParentRequest, RouteDocument, RouteRequest, Rules, RulesRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.services.access import Access, Action
from controller.services.routes import Routes

router = APIRouter(prefix="/v2/apps/{app_id:app}/routes", route_class=IdempotentRoute)


@router.get("", **doc(Page[RouteDocument], errors=(404,)))
async def list_routes(app_id: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The app's routes, the newest first."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Routes(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present.route, page.items), total=page.total)


@router.get("/{name:app}", **doc(Page[RouteDocument], errors=(404,)))
async def list_routes_of_any_name(app_id: str, name: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The same list: the name does not count."""
    del name
    return await list_routes(app_id, who, uow, paging)


@router.post("", **doc(RouteDocument, status=201, body=RouteRequest, errors=(404,)))
async def create_route(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """A new route that is attached to nothing yet. Backends that the app does not have are left out."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    return JSONResponse(present.route(await Routes(uow).create(app_id, body, actor=who)), status_code=201)


@router.delete("/{name:app}", **doc(status=204, errors=(400, 404)))
async def remove_route(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """Remove a route."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Routes(uow).delete(app_id, name, actor=who)
    return Response(status_code=204)


@router.patch("/{name:app}/attach", **doc(status=204, body=ParentRequest, errors=(404,)))
async def attach_route(app_id: str, name: str, who: Who, body: Body, uow: Work) -> Response:
    """Have a route take the requests of a port of a gateway."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Routes(uow).attach(app_id, name, body, actor=who)
    return Response(status_code=204)


@router.patch("/{name:app}/detach", **doc(status=204, body=ParentRequest, errors=(404,)))
async def detach_route(app_id: str, name: str, who: Who, body: Body, uow: Work) -> Response:
    """Have a route no longer take the requests of a port of a gateway."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Routes(uow).detach(app_id, name, body, actor=who)
    return Response(status_code=204)


@router.get("/{name:app}/rules", **doc(Rules, errors=(404,)))
async def get_route_rules(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """The rules of a route."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.rules(await Routes(uow).rules(app_id, name)))


@router.put("/{name:app}/rules", **doc(status=204, body=RulesRequest, errors=(404,)))
async def replace_route_rules(app_id: str, name: str, who: Who, body: AnyBody, uow: Work) -> Response:
    """Give a route other rules: a list, or a text that holds one, which is what released clients send."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    rules = parse(body.encode()) if isinstance(body, str) else body
    await Routes(uow).replace_rules(app_id, name, rules, actor=who)
    return Response(status_code=204)
