"""Certificates: listed, stored, shown, removed, attached to domains and detached."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_domains
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Page
from controller.api.documents_domains import AttachRequest, CertificateDocument, CertificateRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.services.access import Access, Action
from controller.services.certificates import Certificates

router = APIRouter(prefix="/v2/apps/{app_id:app}/certs", route_class=IdempotentRoute)


@router.get("", **doc(Page[CertificateDocument], errors=(404,)))
async def list_certificates(app_id: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The app's certificates, by name."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Certificates(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present_domains.certificate, page.items), total=page.total)


@router.post("", **doc(CertificateDocument, status=201, body=CertificateRequest, errors=(404,)))
async def add_certificate(app_id: str, who: Who, body: Body, ctx: Ctx, uow: Work) -> Response:
    """Keep a certificate and its key."""
    # Reading a key can take seconds, in which no connection is to be held: `uow` begins with its first query.
    async with ctx.unit_of_work.reading() as reading:
        await Access(reading).app(app_id, who, Action.CHANGE)
    certificate = await Certificates(uow).add(app_id, body, actor=who)
    return JSONResponse(present_domains.certificate(certificate), status_code=201)


@router.get("/{name:name}", **doc(CertificateDocument, errors=(404,)))
async def get_certificate(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """One certificate."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present_domains.certificate(await Certificates(uow).get(app_id, name)))


@router.delete("/{name:name}", **doc(status=204, errors=(404,)))
async def remove_certificate(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """Forget a certificate; its domains have none then."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Certificates(uow).remove(app_id, name, actor=who)
    return Response(status_code=204)


@router.post("/{name:name}/domain", **doc(status=201, body=AttachRequest, errors=(404,)))
async def attach_certificate(app_id: str, name: str, who: Who, body: Body, uow: Work) -> Response:
    """Secure a domain of the app with the certificate."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Certificates(uow).attach(app_id, name, body, actor=who)
    return Response(status_code=201)


@router.delete("/{name:name}/domain/{domain:domain}", **doc(status=204, errors=(404, 409)))
async def detach_certificate(app_id: str, name: str, domain: str, who: Who, uow: Work) -> Response:
    """Leave a domain without the certificate."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Certificates(uow).detach(app_id, name, domain, actor=who)
    return Response(status_code=204)
