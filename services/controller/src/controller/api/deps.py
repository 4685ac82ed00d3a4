"""What endpoints depend on: the context, who asks, one transaction, the app that the path names."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from starlette.requests import HTTPConnection

from controller.api.compat import ANONYMOUS, FORBIDDEN
from controller.context import Context
from controller.domain.accounts import Account
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
    """Who sent the `Authorization` header; None when there is none that means us.

    Raises:
        UnauthenticatedError: there is one and it does not hold.
    """
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
    """The person who asks.

    Raises:
        UnauthenticatedError: nobody we know does.
        ForbiddenError: a service does.
    """
    caller = await find_caller(connection)
    if caller is None:
        raise UnauthenticatedError(ANONYMOUS)
    if caller.account is None:
        raise ForbiddenError(FORBIDDEN)
    return caller.account


async def _builder(request: Request, ctx: Ctx) -> None:
    """Let services with the scope for it pass, and builders with the configured key."""
    caller = await find_caller(request)
    given, expected = request.headers.get(BUILDER_HEADER, ""), ctx.settings.builder_key
    if expected is not None and given:
        secret = expected.get_secret_value()
        if secret and hmac.compare_digest(given.encode(), secret.encode()):
            return
    if caller is None:
        raise UnauthenticatedError(ANONYMOUS)
    if caller.service is None or HOOK_SCOPE not in caller.scopes:
        raise ForbiddenError(FORBIDDEN)


async def _unit_of_work(ctx: Ctx) -> AsyncIterator[Uow]:
    async with ctx.unit_of_work() as uow:
        yield uow


# An account before a transaction: anonymous requests cost none.
Who = Annotated[Account, Depends(require_person)]
Builder = Depends(_builder)
# Scope "function": the commit comes before the first byte of the answer, so that a 2xx is never taken back.
Work = Annotated[Uow, Depends(_unit_of_work, scope="function")]
