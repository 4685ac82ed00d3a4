"""What runs: instances (pods, in the words of the API), process types, and what happened to them.

The engine is asked between transactions, never inside one.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from controller.api import present_processes as present
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Listing
from controller.api.documents_processes import (
    CleanRequest,
    Counts,
    EventDocument,
    PodContainerDocument,
    PodDocument,
    PodsRequest,
    PtypeContainerDocument,
    PtypeDocument,
    PtypesRequest,
)
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import listed
from controller.api.words import ptypes_in, split_words
from controller.context import Context
from controller.domain.accounts import Account
from controller.domain.errors import InvalidFieldsError
from controller.domain.fields import REQUIRED
from controller.domain.names import RUN
from controller.domain.spec import AppObservation, InstanceState, ProcessSpec
from controller.services.access import Access, Action
from controller.services.jobs import Jobs
from controller.services.processes import Processes
from controller.services.releases import Releases
from shared.errors import InvalidInputError

router = APIRouter(prefix="/v2/apps/{app_id:app}", route_class=IdempotentRoute)
PodName = Annotated[str | None, Query(description="The name of an instance.")]
PtypeName = Annotated[str | None, Query(description="`<app>-<ptype>`; does not count when an instance is named.")]
HISTORY_RELEASES = 20


@router.get("/pods", **doc(Listing[PodDocument]))
async def list_pods(app_id: str, who: Who, ctx: Ctx) -> Response:
    """All instances, one-offs included, the newest first."""
    observation = await _observe(ctx, app_id, who, Action.VIEW)
    return listed(map(present.pod, present.newest_first(observation.instances)))


@router.get("/pods/{name:process}/describe", **doc(Listing[PodContainerDocument], errors=(400,)))
async def describe_pod(app_id: str, name: str, who: Who, ctx: Ctx) -> Response:
    """What an instance consists of and how it fares."""
    observation = await _observe(ctx, app_id, who, Action.VIEW)
    instance = next((each for each in observation.instances if each.name == name), None)
    if instance is None:
        raise InvalidInputError("this process not found")
    spec = await _spec(ctx, app_id, instance)
    message = await _message(ctx, app_id, observation, instance)
    return listed([present.pod_container(app_id, instance, spec, message)])


@router.delete("/pods", **doc(body=PodsRequest))
async def delete_pods(app_id: str, who: Who, body: Body, ctx: Ctx) -> Response:
    """End instances; the engine starts others in their place. Unknown names are ignored."""
    observation = await _observe(ctx, app_id, who, Action.DELETE)
    pod_ids = body.get("pod_ids")
    if not isinstance(pod_ids, str):
        raise InvalidFieldsError.of("pod_ids", REQUIRED)
    known = {instance.name for instance in observation.instances}
    chosen = [name for name in split_words(pod_ids) if name in known]
    stopped: list[str] = []
    try:
        for name in chosen:
            await ctx.engine.stop_instance(app_id, name)
            stopped.append(name)
    finally:
        if stopped:
            async with ctx.unit_of_work() as uow:
                await Processes(uow).note_stop(app_id, stopped, actor=who)
    return Response(status_code=200)


@router.get("/ptypes", **doc(Listing[PtypeDocument]))
async def list_ptypes(app_id: str, who: Who, ctx: Ctx) -> Response:
    """The deployed process types, the newest first."""
    observation = await _observe(ctx, app_id, who, Action.VIEW)
    async with ctx.unit_of_work() as uow:
        views = await Processes(uow).list_ptypes(app_id, observation)
    return listed(map(present.ptype, views))


@router.get("/ptypes/{name:process}/describe", **doc(Listing[PtypeContainerDocument], errors=(400,)))
async def describe_ptype(app_id: str, name: str, who: Who, uow: Work) -> Response:
    """What a process type consists of; `name` is `<app>-<ptype>`."""
    await Access(uow).app(app_id, who, Action.VIEW)
    ptype = _ptype_in(app_id, name)
    detail = await Processes(uow).describe(app_id, ptype) if ptype else None
    if detail is None:
        raise InvalidInputError("this procfile type not found")
    return listed([present.ptype_container(app_id, detail)])


@router.post("/ptypes/scale", **doc(status=204, body=Counts))
async def scale(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Change how many instances there should be."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Processes(uow).scale(app_id, body, actor=who)
    return Response(status_code=204)


@router.post("/ptypes/restart", **doc(status=204, body=PtypesRequest))
async def restart(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Replace instances one after the other."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Processes(uow).restart(app_id, ptypes_in(body), actor=who)
    return Response(status_code=204)


@router.post("/ptypes/clean", **doc(status=204, body=CleanRequest))
async def clean(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Forget process types that no release has any more."""
    await Access(uow).app(app_id, who, Action.CHANGE)
    await Processes(uow).clean(app_id, ptypes_in(body), actor=who)
    return Response(status_code=204)


@router.get("/events", **doc(Listing[EventDocument]))
async def list_events(app_id: str, who: Who, ctx: Ctx, pod_name: PodName = None, ptype: PtypeName = None) -> Response:
    """What happened to an instance, or to a process type named `<app>-<ptype>`; the oldest first."""
    observation = await _observe(ctx, app_id, who, Action.VIEW)
    if pod_name:
        instance = next((each for each in observation.instances if each.name == pod_name), None)
        if instance is None:
            return listed([])
        noted = await ctx.engine.events(app_id, instance=pod_name)
        return listed(present.pod_events(instance, await _message(ctx, app_id, observation, instance), noted))
    name = _ptype_in(app_id, ptype or "")
    if not name:
        return listed([])
    async with ctx.unit_of_work() as uow:
        page = await Releases(uow).list(app_id, limit=HISTORY_RELEASES)
    state = observation.ptype(name)
    failure = None if state is None else state.failure
    noted = await ctx.engine.events(app_id, ptype=name)
    return listed(present.ptype_events(name, page.items, failure, observation.instances, noted))


async def _observe(ctx: Context, app_id: str, who: Account, action: Action) -> AppObservation:
    async with ctx.unit_of_work() as uow:
        app = await Access(uow).app(app_id, who, action)
    return await ctx.engine.observe(app.name)


async def _spec(ctx: Context, app_id: str, instance: InstanceState) -> ProcessSpec | None:
    async with ctx.unit_of_work.reading() as uow:
        if instance.ptype == RUN:
            return await Jobs(uow).process(app_id, instance.name)
        return await Processes(uow).spec(app_id, instance.ptype, release=instance.release)


async def _message(ctx: Context, app_id: str, observation: AppObservation, instance: InstanceState) -> str:
    """Why an instance does not run; empty when it does, or when nothing is known."""
    if instance.message:
        return instance.message
    if instance.ptype == RUN:
        async with ctx.unit_of_work.reading() as uow:
            job = await Jobs(uow).find(app_id, instance.name)
        return "" if job is None or job.reason is None else f"{job.reason}. {job.hint}".strip()
    state = observation.ptype(instance.ptype)
    if state is None or state.failure is None or state.fingerprint != instance.fingerprint:
        return ""
    return f"{state.failure.code}: {state.failure.message}"


def _ptype_in(app_id: str, name: str) -> str | None:
    prefix = f"{app_id}-"
    return name.removeprefix(prefix) if name.startswith(prefix) else None
