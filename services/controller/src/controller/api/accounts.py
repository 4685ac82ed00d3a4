"""`/v2/`, who am I, tokens and SSH keys: everybody sees and changes their own only."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter
from starlette.responses import JSONResponse, Response

from controller.api import present
from controller.api.body import Body
from controller.api.deps import Ctx, Who, Work
from controller.api.documents import Page
from controller.api.documents_accounts import EmptyDocument, KeyDocument, KeyRequest, TokenDocument, UserDocument
from controller.api.idempotency import IdempotentRoute
from controller.api.openapi import doc
from controller.api.paging import Paging
from controller.domain.fields import FieldChecker
from controller.passport_client import GrantEndedError
from controller.services.accounts import Accounts
from controller.services.keys import MAX_NAME, MAX_PUBLIC, Keys
from shared.errors import NotFoundError, UnavailableError
from shared.logging import get_logger

router = APIRouter(prefix="/v2", route_class=IdempotentRoute)
log = get_logger(__name__)


@router.get("", **doc(EmptyDocument))
async def root(_who: Who) -> Response:
    """Nothing but 200: clients ask here whether this is a controller, and expect 401 while they are unknown."""
    return JSONResponse({})


@router.get("/auth/whoami", **doc(UserDocument))
async def whoami(who: Who) -> Response:
    """The caller."""
    return JSONResponse(present.account(who))


@router.get("/tokens", **doc(Page[TokenDocument]))
async def list_tokens(who: Who, uow: Work, paging: Paging) -> Response:
    """The caller's tokens."""
    page = await Accounts(uow).list_tokens(who, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present.token, page.items), total=page.total)


@router.delete("/tokens/{uuid:opaque}", **doc(status=204))
async def delete_token(uuid: str, who: Who, ctx: Ctx) -> Response:
    """End one of the caller's tokens, and the login at passport behind it."""
    try:
        token_id = UUID(uuid)
    except ValueError:
        raise NotFoundError("") from None  # the contract's body is the empty text, as JSON
    async with ctx.unit_of_work() as uow:
        deleted = await Accounts(uow).delete_token(who, token_id)
    ctx.authenticator.forget_token(deleted.digest)
    if deleted.sealed_refresh_token is not None:
        try:
            await ctx.passport.revoke(str(ctx.unit_of_work.cipher.open(deleted.sealed_refresh_token)))
        except (UnavailableError, GrantEndedError):
            # Our token is gone whatever passport says, or which key is lost; what is left there ends by itself.
            log.warning("refresh_token_not_revoked", user_id=who.id)
    return Response(status_code=204)


@router.get("/keys", **doc(Page[KeyDocument]))
async def list_keys(who: Who, uow: Work, paging: Paging) -> Response:
    """The caller's SSH keys."""
    page = await Keys(uow).list_of(who, limit=paging.limit, offset=paging.offset)
    return paging.answer(map(present.key, page.items), total=page.total)


@router.post("/keys", **doc(KeyDocument, status=201, body=KeyRequest))
async def add_key(who: Who, body: Body, uow: Work) -> Response:
    """Add an SSH key."""
    fields = FieldChecker(body)
    name = fields.text("id", required=True, most=MAX_NAME)
    public = fields.text("public", required=True, most=MAX_PUBLIC)
    fields.finish()
    return JSONResponse(present.key(await Keys(uow).add(who, name=name, public=public)), status_code=201)


@router.get("/keys/{name:rest}", **doc(KeyDocument))
async def get_key(name: str, who: Who, uow: Work) -> Response:
    """One of the caller's SSH keys."""
    return JSONResponse(present.key(await Keys(uow).get(who, name)))


@router.delete("/keys/{name:rest}", **doc(status=204))
async def delete_key(name: str, who: Who, uow: Work) -> Response:
    """Remove one of the caller's SSH keys."""
    await Keys(uow).delete(who, name)
    return Response(status_code=204)
