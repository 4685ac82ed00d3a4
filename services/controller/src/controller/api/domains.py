"""Domains: listed, added, removed."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_domains
from controller.api.body import Body
from controller.api.deps import Who, Work
from controller.api.documents import Page
from controller.api.documents_domains import DomainDocument, DomainRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.services.access import Access, Action
from controller.services.domains import Domains

router = APIRouter(prefix="/v2/apps/{app_id:app}/domains", route_class=IdempotentRoute)


@router.get("", **doc(Page[DomainDocument], errors=(404,)))
async def list_domains(app_id: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The app's domains, by name."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Domains(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present_domains.domain, page.items), total=page.total)


@router.post("", **doc(DomainDocument, status=201, body=DomainRequest, errors=(404,)))
async def add_domain(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Have a host name lead to a process type of the app."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    domain = await Domains(uow).add(app_id, body, actor=who)
    return JSONResponse(present_domains.domain(domain), status_code=201)


@router.delete("/{domain:domain}", **doc(status=204, errors=(404,)))
async def remove_domain(app_id: str, domain: str, who: Who, uow: Work) -> Response:
    """Remove a host name, given as it was sent or in ASCII."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Domains(uow).remove(app_id, domain, actor=who)
    return Response(status_code=204)
