"""What endpoints depend on: the context, who asks, one transaction, the app that the path names."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from controller.api.compat import ANONYMOUS, FORBIDDEN
from controller.context import Context
from controller.domain.accounts import Account
from controller.manager_client import credential_of
from controller.services.apps import Apps
from controller.services.authentication import Caller
from controller.uow import Uow
from shared.errors import ForbiddenError, UnauthenticatedError
from shared.logging import bind_context

BUILDER_HEADER = "X-Drycc-Builder-Auth"
HOOK_SCOPE = "controller:hook"
_HEADER_PROBLEM = "Invalid token header. "


def context_of(connection: HTTPConnection) -> Context:
    """The context of the process that handles this request or stream."""
    context: Context = connection.app.state.context
    return context


async def _context(connection: HTTPConnection) -> Context:
    return context_of(connection)


Ctx = Annotated[Context, Depends(_context)]


async def find_caller(connection: HTTPConnection) -> Caller | None:
    """Who sent the `Authorization` header; None when there is none that means us. Looked up once per request.

    Raises:
        UnauthenticatedError: there is one and it does not hold.
    """
    state = connection.state
    if not hasattr(state, "caller"):
        state.caller = await _authenticate(connection)
    caller: Caller | None = state.caller
    return caller


async def _authenticate(connection: HTTPConnection) -> Caller | None:
    words = connection.headers.get("authorization", "").split()
    scheme = words[0].lower() if words else ""
    if scheme not in ("token", "bearer"):
        return None
    authenticator = context_of(connection).authenticator
    try:
        secret = _credentials(words)
        caller = await (authenticator.token(secret) if scheme == "token" else authenticator.bearer(secret))
    except UnauthenticatedError as error:
        error.headers["WWW-Authenticate"] = scheme
        raise
    bind_context(actor=caller.account.username if caller.account else caller.service)
    return caller


def _credentials(words: list[str]) -> str:
    if len(words) == 1:
        raise UnauthenticatedError(_HEADER_PROBLEM + "No credentials provided.")
    if len(words) > 2:
        raise UnauthenticatedError(_HEADER_PROBLEM + "Token string should not contain spaces.")
    if not words[1].isascii():
        raise UnauthenticatedError(_HEADER_PROBLEM + "Token string should not contain invalid characters.")
    return words[1]


async def require_person(connection: HTTPConnection) -> Account:
    """The person who asks; what the billing manager says of the owner of the app in the path is known from here on.

    Raises:
        UnauthenticatedError: nobody we know does.
        ForbiddenError: a service does.
    """
    caller = await find_caller(connection)
    if caller is None:
        raise UnauthenticatedError(ANONYMOUS)
    if caller.account is None:
        raise ForbiddenError(FORBIDDEN)
    await know_owner(connection)
    return caller.account


async def _builder(request: Request, ctx: Ctx) -> None:
    """Let services with the scope for it pass, and builders with the configured key."""
    caller = await find_caller(request)
    if has_builder_key(request, ctx):
        return
    if caller is None:
        raise UnauthenticatedError(ANONYMOUS)
    if caller.service is None or HOOK_SCOPE not in caller.scopes:
        raise ForbiddenError(FORBIDDEN)


def has_builder_key(connection: HTTPConnection, ctx: Context) -> bool:
    """Whether the request has the key of builders, and one is configured."""
    given, expected = connection.headers.get(BUILDER_HEADER, ""), ctx.settings.builder_key
    secret = expected.get_secret_value() if expected is not None else ""
    return bool(secret) and hmac.compare_digest(given.encode(), secret.encode())


async def _manager(connection: HTTPConnection, ctx: Ctx) -> None:
    """Let the billing manager pass: `Authorization: <any word> <base85 of access:secret>`.

    Raises:
        ForbiddenError: it is not the manager, or none is configured.
    """
    access, secret = ctx.settings.manager_access_key, ctx.settings.manager_secret_key
    words = connection.headers.get("authorization", "").split()
    if access is None or secret is None or len(words) != 2:
        raise ForbiddenError(FORBIDDEN)
    if not hmac.compare_digest(words[1].encode(), credential_of(access, secret).encode()):
        raise ForbiddenError(FORBIDDEN)
    bind_context(actor="manager")


async def know_owner(connection: HTTPConnection) -> None:
    """Have the standing of the owner known before the first query, for `Access` to decide by.

    Nobody pays for it where no billing manager is configured, and no request twice.
    """
    ctx, app = context_of(connection), connection.path_params.get("app_id")
    if ctx.manager is not None and app is not None and not hasattr(connection.state, "knows_owner"):
        await know_owner_of(ctx, str(app))
        connection.state.knows_owner = True


async def know_owner_of(ctx: Context, app: str) -> None:
    """The same for an app that is not named in the path."""
    if ctx.manager is None:
        return
    async with ctx.unit_of_work.reading() as uow:
        found = await Apps(uow).find(app)
    if found is not None:
        await ctx.manager.ask(found.owner.id)


def begun_work(request: Request) -> Uow | None:
    """The unit of work that the request has already."""
    begun: Uow | None = getattr(request.state, "work", None)
    return begun


def use_work(request: Request, uow: Uow) -> None:
    """Have the request's endpoint work in `uow`, which whoever calls this ends."""
    request.state.work = uow


async def unit_of_work(request: Request) -> Uow:
    """The unit of work that the route has opened (`api.units`, `api.idempotency`)."""
    begun = begun_work(request)
    if begun is None:
        raise RuntimeError("this endpoint needs a router with route_class=UnitRoute or IdempotentRoute")
    return begun


Who = Annotated[Account, Depends(require_person)]
Builder = Depends(_builder)
Manager = Depends(_manager)
Work = Annotated[Uow, Depends(unit_of_work)]
