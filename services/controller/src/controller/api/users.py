"""The people of the platform, for superusers: listed, shut out, let in again."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.responses import Response

from controller.api import present
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Page
from controller.api.documents_accounts import UserDocument
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.api.units import UnitRoute
from controller.context import Context
from controller.domain.accounts import Account
from controller.services.access import PlatformAction, require_platform
from controller.services.accounts import Accounts

router = APIRouter(prefix="/v2/users", route_class=UnitRoute)


@router.get("", **doc(Page[UserDocument]))
async def list_users(who: Who, uow: Work, paging: Paging) -> Response:
    """Everybody who was ever logged in here, by name."""
    require_platform(who, PlatformAction.MANAGE_USERS)
    page = await Accounts(uow).list_all(limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present.account, page.items), total=page.total)


@router.patch("/{username:username}/enable", **doc(status=204, errors=(404, 423)))
async def enable_user(username: str, who: Who, ctx: Ctx) -> Response:
    """Let somebody in again who was shut out here."""
    return await _set_disabled(ctx, who, username, disabled=False)


@router.patch("/{username:username}/disable", **doc(status=204, errors=(404, 423)))
async def disable_user(username: str, who: Who, ctx: Ctx) -> Response:
    """Shut somebody out until they log in anew; to do it for good, close the account at passport."""
    return await _set_disabled(ctx, who, username, disabled=True)


async def _set_disabled(ctx: Context, who: Account, username: str, *, disabled: bool) -> Response:
    require_platform(who, PlatformAction.MANAGE_USERS)
    if username == who.username:
        return Response(status_code=423)
    async with ctx.unit_of_work() as uow:
        user = await Accounts(uow).set_disabled(username, disabled, actor=who)
    ctx.authenticator.forget_user(user.id)
    return Response(status_code=204)
