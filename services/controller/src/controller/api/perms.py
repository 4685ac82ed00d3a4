"""Grants: what others may do with an app. For its owner and superusers."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from controller.api import present
from controller.api.body import Body
from controller.api.compat import BareTextError
from controller.api.deps import Who, Work
from controller.api.documents import Listing
from controller.api.documents_accounts import GrantChange, GrantDocument, GrantRequest
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import listed
from controller.domain.fields import FieldChecker
from controller.services.access import Access, Action
from controller.services.accounts import Accounts
from controller.services.grants import PERMISSIONS, Grants

router = APIRouter(prefix="/v2/apps/{app_id:app}/perms", route_class=IdempotentRoute)
PROBLEM = "The permissions field is required and has a value range of: view,change,delete"


@router.get("", **doc(Listing[GrantDocument]))
async def list_grants(app_id: str, who: Who, uow: Work) -> Response:
    """Who was granted what."""
    await Access(uow).app(app_id, who, Action.SHARE)
    return listed(map(present.grant, await Grants(uow).list(app_id)))


@router.post("", **doc(status=201, body=GrantRequest))
async def add_grant(app_id: str, who: Who, body: Body, uow: Work) -> Response:
    """Grant permissions besides those that there are."""
    await Access(uow).app(app_id, who, Action.SHARE)
    permissions = _permissions(body)
    fields = FieldChecker(body)
    username = fields.text("username", required=True)
    fields.finish()
    user = await Accounts(uow).get_by_name(username)
    await Grants(uow).grant(app_id, user, permissions, actor=who)
    return Response(status_code=201)


@router.put("/{username:username}", **doc(status=204, body=GrantChange))
async def replace_grants(app_id: str, username: str, who: Who, body: Body, uow: Work) -> Response:
    """Grant these permissions and no others."""
    await Access(uow).app(app_id, who, Action.SHARE)
    permissions = _permissions(body)
    user = await Accounts(uow).get_by_name(username)
    await Grants(uow).replace(app_id, user, permissions, actor=who)
    return Response(status_code=204)


@router.delete("/{username:username}", **doc(status=204))
async def remove_grants(app_id: str, username: str, who: Who, uow: Work) -> Response:
    """Take all permissions back."""
    await Access(uow).app(app_id, who, Action.SHARE)
    user = await Accounts(uow).get_by_name(username)
    await Grants(uow).revoke(app_id, user, actor=who)
    return Response(status_code=204)


def _permissions(body: Body) -> frozenset[str]:
    """The comma-separated names under `permissions`.

    Raises:
        BareTextError: there are none, or one is unknown.
    """
    text = body.get("permissions")
    names = frozenset(text.split(",")) if isinstance(text, str) else frozenset()
    if not names or not names <= frozenset(PERMISSIONS):
        raise BareTextError(PROBLEM)
    return names
