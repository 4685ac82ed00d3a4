"""Who asks, and what they may do here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security.utils import get_authorization_scheme_param

from builder.context import Context
from shared.auth import Claims
from shared.errors import ForbiddenError, UnauthenticatedError

READ = "builder:read"
WRITE = "builder:write"


def get_context(request: Request) -> Context:
    """What the lifespan made."""
    context: Context = request.app.state.context
    return context


def require(scope: str) -> Callable[[Request], Awaitable[Claims]]:
    """A dependency that lets through bearer tokens for this service with `scope` and gives their claims."""

    async def check(request: Request) -> Claims:
        scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
        if scheme.lower() != "bearer" or not token:
            raise UnauthenticatedError(
                "send an access token for the builder as `Authorization: Bearer ...`",
                headers={"WWW-Authenticate": "Bearer"},
            )
        claims = await get_context(request).tokens.verify(token)
        if scope not in claims.scopes:
            raise ForbiddenError(f"the access token lacks the scope {scope}")
        return claims

    return check


InContext = Annotated[Context, Depends(get_context)]
CanRead = Annotated[Claims, Depends(require(READ))]
CanWrite = Annotated[Claims, Depends(require(WRITE))]
