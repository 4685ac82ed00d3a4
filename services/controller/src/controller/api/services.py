"""Services: which ports of process types can be reached inside the platform."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_ingress as present
from controller.api.body import Body
from controller.api.deps import Who, Work
from controller.api.documents_ingress import ServiceList, ServicePortRequest, ServiceRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.services.access import Access, Action
from controller.services.app_services import Services

router = APIRouter(prefix="/v2/apps/{app_id:app}/services", route_class=IdempotentRoute)


@router.get("", **doc(ServiceList, errors=(404,)))
async def list_services(app_id: str, who: Who, uow: Work) -> Response:
    """The app's services, the newest first."""
    await Access(uow).app(app_id, who, Action.VIEW)
    services = await Services(uow).list(app_id)
    shown = [present.service(service, cluster_domain=uow.policy.cluster_domain) for service in services]
    return JSONResponse({"services": shown})


@router.post("", **doc(status=201, body=ServiceRequest, also={204: None}, errors=(404,)))
async def add_service_port(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Open a port of a process type: 201 when that makes its service, 204 when it had one."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    is_new = await Services(uow).add_port(app_id, body, actor=who)
    return Response(status_code=201 if is_new else 204)


@router.delete("", **doc(status=204, body=ServicePortRequest, errors=(404,)))
async def remove_service_port(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Close a port; the service goes with its last one."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Services(uow).remove_port(app_id, body, actor=who)
    return Response(status_code=204)
