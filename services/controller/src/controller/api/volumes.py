"""Volumes of an app: listed, made, shown, expanded, mounted, removed."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present_storage
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Page
from controller.api.documents_storage import ExpandRequest, MountRequest, VolumeDocument, VolumeRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.services.access import Access, Action
from controller.services.volumes import Volumes

router = APIRouter(prefix="/v2/apps/{app_id:app}/volumes", route_class=IdempotentRoute)


@router.get("", **doc(Page[VolumeDocument]))
async def list_volumes(app_id: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The volumes of the app, newest first."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Volumes(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present_storage.volume, page.items), total=page.total)


@router.post("", **doc(VolumeDocument, status=201, body=VolumeRequest))
async def create_volume(app_id: str, who: Who, body: Body, ctx: Ctx, uow: Work) -> Response:
    """A new volume, mounted nowhere yet."""
    # The engine is asked while no transaction is open: `uow` begins with its first query.
    async with ctx.unit_of_work.reading() as reading:
        await Access(reading).app(app_id, who, Action.CHANGE)
        wanted = Volumes(reading).wanted(body)
    await ctx.engine.check_volume(app_id, wanted)
    volume = await Volumes(uow).create(app_id, body, actor=who)
    return JSONResponse(present_storage.volume(volume), status_code=201)


@router.get("/{name:name}", **doc(VolumeDocument))
async def get_volume(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """One volume."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present_storage.volume(await Volumes(uow).get(app_id, name)))


@router.patch("/{name:name}", **doc(VolumeDocument, body=ExpandRequest, errors=(409,)))
async def expand_volume(app_id: str, name: str, *, who: Who, body: Body, ctx: Ctx, uow: Work) -> Response:
    """Make the volume larger."""
    async with ctx.unit_of_work.reading() as reading:
        await Access(reading).app(app_id, who, Action.CHANGE)
        planned = await Volumes(reading).planned(app_id, name, body)
    await ctx.engine.check_volume(app_id, planned)
    return JSONResponse(present_storage.volume(await Volumes(uow).expand(app_id, name, body, actor=who)))


@router.delete("/{name:name}", **doc(status=204, errors=(400,)))
async def delete_volume(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """Remove the volume with all that is in it."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Volumes(uow).delete(app_id, name, actor=who)
    return Response(status_code=204)


@router.patch("/{name:name}/path", **doc(VolumeDocument, body=MountRequest))
async def mount_volume(app_id: str, name: str, who: Who, body: Body, uow: Work) -> Response:
    """Mount the volume in process types, or unmount it; they get new instances."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    return JSONResponse(present_storage.volume(await Volumes(uow).mount(app_id, name, body, actor=who)))
