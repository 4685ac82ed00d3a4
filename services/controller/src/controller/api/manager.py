"""What the billing manager asks for: apps and users are blocked and let go again. All of it may be repeated."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from controller.api.body import Body
from controller.api.deps import Manager, Work
from controller.api.documents_audit import BlockRequest
from controller.api.openapi import doc
from controller.api.units import UnitRoute
from controller.domain.blocks import DEFAULT_REMARK, MAX_REMARK, check_target
from controller.domain.fields import FieldChecker
from controller.services.blocklist import Blocklist

router = APIRouter(prefix="/v2/manager", dependencies=[Manager], route_class=UnitRoute)


@router.post("/{kind:opaque}/{id:opaque}/block", **doc(status=201, body=BlockRequest, guard="manager"))
async def block(kind: str, id: str, body: Body, uow: Work) -> Response:  # noqa: A002  the path's word
    """Shut down an app (`apps`, by name) or all apps of a user (`users`, by number), and let nobody use them."""
    target = check_target(kind, id)
    fields = FieldChecker(body)
    remark = fields.text("remark", null=True, most=MAX_REMARK)
    fields.finish()
    await Blocklist(uow).block(target, remark=remark or DEFAULT_REMARK)
    return Response(status_code=201)


@router.delete("/{kind:opaque}/{id:opaque}/unblock", **doc(status=204, guard="manager", errors=(400,)))
async def unblock(kind: str, id: str, uow: Work) -> Response:  # noqa: A002  the path's word
    """Lift the block. Nothing is scaled up again."""
    await Blocklist(uow).unblock(check_target(kind, id))
    return Response(status_code=204)
