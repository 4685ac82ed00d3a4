"""The catalogue of limit plans, for everybody who is known."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import JSONResponse, Response

from controller.api import present_storage
from controller.api.deps import Ctx, Who
from controller.api.documents import Page
from controller.api.documents_storage import PlanDocument, SpecDocument
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.context import Context
from controller.services.limits import Limits

router = APIRouter(prefix="/v2/limits")

Keywords = Annotated[str, Query(description="Words that a spec must all have, with anything between them.")]
SpecId = Annotated[str, Query(alias="spec-id", description="Plans of this spec only.")]
Cores = Annotated[str, Query(description="Plans with so many cores only.")]
Memory = Annotated[str, Query(description="Plans with so many GiB only; `4GB` means 4.")]


@router.get("/specs", **doc(Page[SpecDocument]))
async def list_specs(who: Who, ctx: Ctx, paging: Paging, keywords: Keywords = "") -> Response:
    """The kinds of machines, highest priority first."""
    del who
    page = _limits(ctx).specs(keywords=keywords, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present_storage.spec, page.items), total=page.total)


@router.get("/plans", **doc(Page[PlanDocument], errors=(400,)))
async def list_plans(
    who: Who, ctx: Ctx, paging: Paging, *, spec: SpecId = "", cpu: Cores = "", memory: Memory = ""
) -> Response:
    """The plans that process types can have; the first is the default."""
    del who
    page = _limits(ctx).plans(spec=spec, cpu=cpu, memory=memory, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present_storage.plan, page.items), total=page.total)


@router.get("/plans/{plan:plan}", **doc(PlanDocument, errors=(404,)))
async def get_plan(plan: str, who: Who, ctx: Ctx) -> Response:
    """One plan, also one that is not offered any more."""
    del who
    return JSONResponse(present_storage.plan(_limits(ctx).get(plan)))


def _limits(ctx: Context) -> Limits:
    return Limits(ctx.unit_of_work.policy.catalog)
