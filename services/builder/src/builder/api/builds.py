"""Builds over HTTP: records, logs, cancelling."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse

from builder.api.deps import CanRead, CanWrite, InContext, OwnSource
from builder.api.schemas import BuildList, BuildOut

router = APIRouter(prefix="/builds")


@router.get("")
async def list_builds(
    context: InContext,
    _claims: CanRead,
    app: Annotated[str | None, Query(max_length=63, pattern=r"^[^\x00]*$")] = None,
    before: UUID | None = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> BuildList:
    """Builds of one app or of all, newest first."""
    builds = await context.records.page(app=app, before=before, limit=limit + 1)
    page = builds[:limit]
    return BuildList(
        builds=[BuildOut.model_validate(build) for build in page],
        next=page[-1].id if len(builds) > limit else None,
    )


@router.get("/{build_id}")
async def get_build(build_id: UUID, context: InContext, _claims: CanRead) -> BuildOut:
    """One build."""
    return BuildOut.model_validate(await context.records.get(build_id))


@router.get("/{build_id}/log")
async def get_log(
    build_id: UUID,
    context: InContext,
    _claims: CanRead,
    offset: Annotated[int, Query(ge=0)] = 0,
    follow: bool = False,
) -> StreamingResponse:
    """The log from byte `offset` on; with `follow` until the build and its release are over."""
    build = await context.records.get(build_id)
    log = context.logs.read(build.app, build.id, offset=offset, follow=follow)
    return StreamingResponse(log, media_type="text/plain; charset=utf-8")


@router.get("/{build_id}/source")
async def get_source(build_id: UUID, context: InContext, door: OwnSource) -> StreamingResponse:
    """What a build is made from, as a tar.gz: for the build itself, with its own token, until it has ended."""
    build = await context.records.get(build_id)
    source = await door.sources.open(build.app, build.id, build.sha)
    return StreamingResponse(aiter(source), media_type="application/gzip", headers={"Content-Length": str(source.size)})


@router.post("/{build_id}/cancel")
async def cancel_build(build_id: UUID, context: InContext, claims: CanWrite) -> BuildOut:
    """Stop a running build and wait until it has stopped; 409 when it is over."""
    who = claims.username or claims.client_id
    await context.builds.cancel(build_id, f"{who} cancelled the build")
    return BuildOut.model_validate(await context.records.get(build_id))
