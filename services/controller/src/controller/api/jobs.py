"""One-off commands: started, looked at, followed, stopped. `POST /v2/apps/{app}/run` beside them is the released
clients' way to start one, which tells them nothing but that it was accepted."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from starlette.responses import JSONResponse, Response, StreamingResponse

from controller.api import present_jobs as present
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Page
from controller.api.documents_jobs import JobDocument, JobRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.api.words import flag, number
from controller.context import Context
from controller.domain.jobs import Job
from controller.services.access import Access, Action
from controller.services.jobs import Jobs
from shared.errors import NotFoundError, SuiteError

router = APIRouter(prefix="/v2/apps/{app_id:app}", route_class=IdempotentRoute)
PLAIN_TEXT: Final = "text/plain"
JOB_HEADERS: Final = {"Location": "The job.", "X-Workflow-Job": "The name of the job."}
_POLL_SECONDS: Final = 0.25


@dataclass(frozen=True)
class Excerpt:
    """Which part of a log is wanted: from that byte on, and what is still to come."""

    offset: int
    follow: bool


Offset = Annotated[str, Query(description="How many bytes to leave out.")]
Follow = Annotated[str, Query(description="`true` to go on until the command has ended.")]


async def _excerpt(offset: Offset = "0", follow: Follow = "false") -> Excerpt:
    return Excerpt(number(offset, "offset"), flag(follow, "follow"))


Wanted = Annotated[Excerpt, Depends(_excerpt)]


@router.post("/run", **doc(status=204, body=JobRequest, errors=(404,), headers=JOB_HEADERS))
async def run_command(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Start a one-off command; the headers say under which name."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    job = await Jobs(uow).start(app_id, body, actor=who)
    return Response(status_code=204, headers=_headers(job))


@router.get("/jobs", **doc(Page[JobDocument], errors=(404,)))
async def list_jobs(app_id: str, who: Who, uow: Work, paging: Paging) -> Response:
    """The one-off commands that are remembered, the newest first."""
    await Access(uow).app(app_id, who, Action.VIEW)
    page = await Jobs(uow).list(app_id, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present.job, page.items), total=page.total)


@router.post("/jobs", **doc(JobDocument, status=201, body=JobRequest, errors=(404,), headers=JOB_HEADERS))
async def start_job(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Start a one-off command."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    job = await Jobs(uow).start(app_id, body, actor=who)
    return JSONResponse(present.job(job), status_code=201, headers=_headers(job))


@router.get("/jobs/{name:process}", **doc(JobDocument, errors=(404,)))
async def get_job(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """One of them."""
    await Access(uow).app(app_id, who, Action.VIEW)
    return JSONResponse(present.job(await Jobs(uow).get(app_id, name)))


@router.delete("/jobs/{name:process}", **doc(status=204, errors=(404,)))
async def stop_job(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """Stop it; one that has ended stays as it is."""
    await Access(uow).app(app_id, who, Action.DELETE)
    await Jobs(uow).stop(app_id, name, actor=who)
    return Response(status_code=204)


@router.get("/jobs/{name:process}/log", **doc(str, media_type=PLAIN_TEXT, errors=(400, 404)))
async def read_log(app_id: str, name: str, who: Who, ctx: Ctx, excerpt: Wanted) -> Response:
    """Its output, from byte `offset` on. With `follow` the answer goes on until the command has ended; who was cut off
    asks again with the number of bytes received so far."""
    async with ctx.unit_of_work.reading() as uow:
        await Access(uow).app(app_id, who, Action.VIEW)
        job = await Jobs(uow).get(app_id, name)
    output = _without(excerpt.offset, _output(ctx, job, follow=excerpt.follow))
    return StreamingResponse(output, media_type=PLAIN_TEXT, headers={"Cache-Control": "no-store"})


def _headers(job: Job) -> dict[str, str]:
    return {"Location": f"/v2/apps/{job.app}/jobs/{job.name}", "X-Workflow-Job": job.name}


async def _output(ctx: Context, job: Job, *, follow: bool) -> AsyncGenerator[bytes, None]:
    """What the engine keeps of the output; the lines that we remember where it keeps nothing."""
    has_some = False
    try:
        while follow and job.state == "starting":
            await asyncio.sleep(_POLL_SECONDS)
            job = await _again(ctx, job)
        still_comes = follow and not job.is_finished
        source = ctx.engine.logs(job.app, instance=job.name, lines=0, follow=still_comes)
        async with aclosing(_closable(source)) as pieces:
            async for piece in pieces:
                has_some = True
                yield piece
    except NotFoundError:
        pass  # nothing is kept (any more)
    except SuiteError as error:
        yield f"{error.detail}\n".encode()
        return
    if not has_some:
        job = await _again(ctx, job)
        yield "".join(f"{line}\n" for line in job.log).encode()


async def _again(ctx: Context, job: Job) -> Job:
    """The job as it stands now; as it stood when it is gone."""
    async with ctx.unit_of_work.reading() as uow:
        try:
            return await Jobs(uow).get(job.app, job.name)
        except NotFoundError:
            return replace(job, state="crashed")


async def _closable(source: AsyncIterator[bytes]) -> AsyncGenerator[bytes, None]:
    try:
        async for piece in source:
            yield piece
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def _without(skipped: int, source: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """`source` from byte `skipped` on."""
    async with aclosing(source) as pieces:
        async for piece in pieces:
            rest = piece[skipped:]
            skipped = max(0, skipped - len(piece))
            if rest:
                yield rest
