"""What apps are made of: builds, config, releases, settings."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import JSONResponse, Response

from controller.api import present
from controller.api.body import Body
from controller.api.deps import Who, Work
from controller.api.documents import Page
from controller.api.documents_releases import (
    BuildDocument,
    BuildRequest,
    ConfigDocument,
    ConfigRequest,
    DeployRequest,
    DetachRequest,
    NoBuildDocument,
    ReleaseDocument,
    RollbackRequest,
    RollbackResult,
    SettingsDocument,
    SettingsRequest,
)
from controller.api.etags import ETAG, IF_MATCH, IF_NONE_MATCH, OnlyIf, etag_of, is_known
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.api.words import ptypes_in, split_words
from controller.domain.builds import check_build
from controller.domain.errors import ReleaseNotFoundError
from controller.domain.releases import parse_version
from controller.services.access import Access, Action
from controller.services.app_settings import AppSettingsService
from controller.services.builds import Builds
from controller.services.configs import Configs
from controller.services.releases import Releases

router = APIRouter(prefix="/v2/apps/{app_id:app}", route_class=IdempotentRoute)
Version = Annotated[str | None, Query(description="`v3` or `3`; anything else means the latest usable release.")]
Ptypes = Annotated[str, Query(description="Only releases that were deployed to all of these: `web,worker`.")]


@router.get("/build", **doc(BuildDocument | NoBuildDocument))
async def get_build(app_id: str, who: Who, uow: Work, version: Version = None) -> Response:
    """The build of a release, by default of the latest usable one."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.build(await Builds(uow).find(app_id, version=parse_version(version))))


@router.post("/build", **doc(BuildDocument, status=201, body=BuildRequest, errors=(409,)))
async def create_build(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """A release of an image."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    builds = Builds(uow)
    release = await builds.create(app_id, check_build(body), actor=who)
    build = await builds.find(app_id, version=release.version)
    return JSONResponse(present.build(build), status_code=201)


@router.get("/config", **doc(ConfigDocument, also={304: None}, headers=ETAG, request_headers=IF_NONE_MATCH))
async def get_config(request: Request, app_id: str, who: Who, uow: Work, version: Version = None) -> Response:
    """The config of a release, by default of the latest usable one. `ETag` is its UUID; the limits that process types
    without a plan of their own show are not part of the version."""
    await Access(uow).app(app_id, who, Action.VIEW)
    config = await Configs(uow).get(app_id, version=parse_version(version))
    headers = etag_of(config.uuid)
    if is_known(request, config.uuid):
        return Response(status_code=304, headers=headers)
    return JSONResponse(present.config(config), headers=headers)


@router.post(
    "/config",
    **doc(
        ConfigDocument,
        status=201,
        body=ConfigRequest,
        errors=(409, 412, 422),
        headers=ETAG,
        request_headers=IF_MATCH,
    ),
)
async def change_config(app_id: str, who: Who, body: Body, only_if: OnlyIf, uow: Work) -> Response:
    """Merge into the config; a new release."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    config = await Configs(uow).change(app_id, body, actor=who, only_if=only_if)
    return JSONResponse(present.config(config), status_code=201, headers=etag_of(config.uuid))


@router.delete("/config", **doc(body=DetachRequest, errors=(400, 409, 412), headers=ETAG, request_headers=IF_MATCH))
async def detach_groups(app_id: str, who: Who, body: Body, only_if: OnlyIf, uow: Work) -> Response:
    """Detach groups of variables; a new release."""
    await Access(uow).app(app_id, who, Action.DELETE)
    config = await Configs(uow).detach_groups(app_id, body, actor=who, only_if=only_if)
    return Response(status_code=200, headers=etag_of(config.uuid))


@router.get("/releases", **doc(Page[ReleaseDocument]))
async def list_releases(app_id: str, who: Who, uow: Work, paging: Paging, ptypes: Ptypes = "") -> Response:
    """Releases, newest first."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Releases(uow).list(
        app_id, ptypes=split_words(ptypes.replace("\0", "")), limit=paging.limit, offset=paging.offset
    )
    return paging.answer(map(present.release, page.items), total=page.total)


@router.post("/releases/deploy", **doc(status=204, body=DeployRequest))
async def deploy(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Roll the newest release out again."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Releases(uow).deploy(app_id, ptypes=ptypes_in(body), force=body.get("force") is True, actor=who)
    return Response(status_code=204)


@router.post("/releases/rollback", **doc(RollbackResult, status=201, body=RollbackRequest))
async def roll_back(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """A new release that repeats an older one."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    release = await Releases(uow).roll_back(app_id, version=body.get("version"), ptypes=ptypes_in(body), actor=who)
    return JSONResponse({"version": release.version}, status_code=201)


@router.get("/releases/{version:version}", **doc(ReleaseDocument))
async def get_release(app_id: str, version: int, who: Who, uow: Work) -> Response:
    """One release."""
    await Access(uow).app(app_id, who, Action.VIEW)
    if version == 0:
        raise ReleaseNotFoundError
    return JSONResponse(present.release(await Releases(uow).get(app_id, version)))


@router.get("/settings", **doc(SettingsDocument))
async def get_settings(app_id: str, who: Who, uow: Work) -> Response:
    """The settings of the app."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.settings(await AppSettingsService(uow).get(app_id)))


@router.post("/settings", **doc(SettingsDocument, status=201, body=SettingsRequest, errors=(409, 422)))
async def change_settings(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Merge into the settings of the app."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    settings = await AppSettingsService(uow).change(app_id, body, actor=who)
    return JSONResponse(present.settings(settings), status_code=201)
