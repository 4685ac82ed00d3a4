"""Apps: listed, made, shown, handed over, destroyed."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from controller.api import present
from controller.api.body import Body
from controller.api.deps import Who, Work
from controller.api.documents import AppDocument, AppRequest, Page, TransferRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.api.words import searchable
from controller.services.access import Access, Action
from controller.services.accounts import Accounts
from controller.services.apps import Apps

router = APIRouter(prefix="/v2/apps", route_class=IdempotentRoute)
Search = Annotated[str, Query(description="What the name begins with.")]


@router.get("", **doc(Page[AppDocument]))
async def list_apps(who: Who, uow: Work, paging: Paging, search: Search = "") -> Response:
    """The apps that the caller owns or may view; all of them for superusers."""
    page = await Apps(uow).list_visible(
        viewer=who,
        everything=who.is_superuser,
        search=searchable(search),
        limit=paging.limit,
        offset=paging.offset,
    )
    return paging.answer(map(present.app, page.items), total=page.total)


@router.post("", **doc(AppDocument, status=201, body=AppRequest, errors=(409,)))
async def create_app(who: Who, body: Body, uow: Work) -> Response:
    """A new app of the caller."""
    app = await Apps(uow).create(owner=who, name=body.get("id"))
    return JSONResponse(present.app(app), status_code=201)


@router.get("/{app_id:app}", **doc(AppDocument))
async def get_app(app_id: str, who: Who, uow: Work) -> Response:
    """One app."""
    return JSONResponse(present.app(await Access(uow).app(app_id, who, Action.VIEW)))


@router.post("/{app_id:app}", **doc(body=TransferRequest))
async def transfer_app(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Hand the app over to the person named under `owner`; without one nothing happens."""
    owner = body.get("owner")
    await Access(uow).app(app_id, who, Action.TRANSFER if owner else Action.CHANGE)
    if owner:
        await Apps(uow).transfer(app_id, to=await Accounts(uow).get_by_name(str(owner)), actor=who)
    return Response(status_code=200)


@router.delete("/{app_id:app}", **doc(status=204))
async def delete_app(app_id: str, who: Who, uow: Work) -> Response:
    """Destroy the app."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Apps(uow).delete(app_id, actor=who)
    return Response(status_code=204)
