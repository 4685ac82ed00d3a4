"""What apps are made of: builds, config, releases, settings."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present
from controller.api.body import Body
from controller.api.deps import Who, Work
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

router = APIRouter(prefix="/v2/apps/{app_id:app}")


@router.get("/build")
async def get_build(app_id: str, who: Who, uow: Work, version: str | None = None) -> Response:
    """The build of a release, by default of the latest usable one."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.build(await Builds(uow).find(app_id, version=parse_version(version))))


@router.post("/build")
async def create_build(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """A release of an image."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    builds = Builds(uow)
    release = await builds.create(app_id, check_build(body), actor=who)
    build = await builds.find(app_id, version=release.version)
    return JSONResponse(present.build(build), status_code=201)


@router.get("/config")
async def get_config(app_id: str, who: Who, uow: Work, version: str | None = None) -> Response:
    """The config of a release, by default of the latest usable one."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.config(await Configs(uow).get(app_id, version=parse_version(version))))


@router.post("/config")
async def change_config(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Merge into the config; a new release."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    config = await Configs(uow).change(app_id, body, actor=who)
    return JSONResponse(present.config(config), status_code=201)


@router.delete("/config")
async def detach_groups(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Detach groups of variables; a new release."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Configs(uow).detach_groups(app_id, body, actor=who)
    return Response(status_code=200)


@router.get("/releases")
async def list_releases(app_id: str, who: Who, uow: Work, paging: Paging, ptypes: str = "") -> Response:
    """Releases, newest first."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Releases(uow).list(
        app_id, ptypes=split_words(ptypes.replace("\0", "")), limit=paging.limit, offset=paging.offset
    )
    return paging.answer(map(present.release, page.items), total=page.total)


@router.post("/releases/deploy")
async def deploy(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Roll the newest release out again."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Releases(uow).deploy(app_id, ptypes=ptypes_in(body), force=body.get("force") is True, actor=who)
    return Response(status_code=204)


@router.post("/releases/rollback")
async def roll_back(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """A new release that repeats an older one."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    release = await Releases(uow).roll_back(app_id, version=body.get("version"), ptypes=ptypes_in(body), actor=who)
    return JSONResponse({"version": release.version}, status_code=201)


@router.get("/releases/{version:version}")
async def get_release(app_id: str, version: int, who: Who, uow: Work) -> Response:
    """One release."""
    await Access(uow).app(app_id, who, Action.VIEW)
    if version == 0:
        raise ReleaseNotFoundError
    return JSONResponse(present.release(await Releases(uow).get(app_id, version)))


@router.get("/settings")
async def get_settings(app_id: str, who: Who, uow: Work) -> Response:
    """The settings of the app."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.settings(await AppSettingsService(uow).get(app_id)))


@router.post("/settings")
async def change_settings(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Merge into the settings of the app."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    settings = await AppSettingsService(uow).change(app_id, body, actor=who)
    return JSONResponse(present.settings(settings), status_code=201)
