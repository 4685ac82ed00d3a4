"""Resources of apps, and what the service broker offers."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_storage
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Listing, Page
from controller.api.documents_storage import (
    BindingRequest,
    ResourceChange,
    ResourceDetails,
    ResourceDocument,
    ResourceRequest,
    ServiceClassDocument,
    ServicePlanDocument,
)
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging, listed
from controller.context import Context
from controller.domain.accounts import Account
from controller.domain.resources import check_action
from controller.services.access import Access, Action
from controller.services.resources import ManagedResources, Resources

router = APIRouter(prefix="/v2", route_class=IdempotentRoute)


@router.get("/resources/services", **doc(Listing[ServiceClassDocument]))
async def list_broker_services(who: Who, ctx: Ctx) -> Response:
    """The classes of resources that there are, by name."""
    del who
    return listed(map(present_storage.service, await _managed(ctx).services()))


@router.get("/resources/services/{service:service_class}/plans", **doc(Listing[ServicePlanDocument]))
async def list_broker_plans(service: str, who: Who, ctx: Ctx) -> Response:
    """The plans of a class; none for an unknown one."""
    del who
    return listed(map(present_storage.service_plan, await _managed(ctx).plans(service)))


@router.get("/apps/{app_id:app}/resources", **doc(Page[ResourceDocument]))
async def list_resources(app_id: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The resources of the app, newest first, as they were seen last."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Resources(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present_storage.resource, page.items), total=page.total)


@router.post("/apps/{app_id:app}/resources", **doc(ResourceDocument, status=201, body=ResourceRequest, errors=(409,)))
async def create_resource(app_id: str, who: Who, body: Body, ctx: Ctx) -> Response:
    """A new resource."""
    await _check(ctx, app_id, who, Action.CHANGE)
    resource = await _managed(ctx).create(app_id, body, actor=who)
    return JSONResponse(present_storage.resource(resource), status_code=201)


@router.get("/apps/{app_id:app}/resources/{name:name}", **doc(ResourceDetails))
async def get_resource(app_id: str, name: str, who: Who, ctx: Ctx) -> Response:
    """One resource, as its broker sees it now."""
    await _check(ctx, app_id, who, Action.VIEW)
    resource, message = await _managed(ctx).look(app_id, name)
    return JSONResponse(present_storage.resource_details(resource, message))


@router.put("/apps/{app_id:app}/resources/{name:name}", **doc(ResourceDocument, body=ResourceChange))
async def update_resource(app_id: str, name: str, who: Who, body: Body, ctx: Ctx) -> Response:
    """Another plan of the same class, or other options."""
    await _check(ctx, app_id, who, Action.CHANGE)
    return JSONResponse(present_storage.resource(await _managed(ctx).update(app_id, name, body, actor=who)))


@router.delete("/apps/{app_id:app}/resources/{name:name}", **doc(status=204, errors=(400,)))
async def delete_resource(app_id: str, name: str, who: Who, ctx: Ctx) -> Response:
    """Destroy the resource."""
    await _check(ctx, app_id, who, Action.DELETE)
    await _managed(ctx).delete(app_id, name, actor=who)
    return Response(status_code=204)


@router.patch(
    "/apps/{app_id:app}/resources/{name:name}/binding", **doc(ResourceDocument, body=BindingRequest, errors=(409,))
)
async def change_binding(app_id: str, name: str, who: Who, body: Body, ctx: Ctx) -> Response:
    """Bind the resource, or unbind it."""
    await _check(ctx, app_id, who, Action.CHANGE)
    managed = _managed(ctx)
    act = managed.bind if check_action(body) else managed.unbind
    return JSONResponse(present_storage.resource(await act(app_id, name, actor=who)))


def _managed(ctx: Context) -> ManagedResources:
    return ManagedResources(ctx.unit_of_work, ctx.broker)


async def _check(ctx: Context, app: str, who: Account, action: Action) -> None:
    async with ctx.unit_of_work.reading() as uow:
        await Access(uow).app(app, who, action)
