"""Who asks, and what they may do here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security.utils import get_authorization_scheme_param

from builder.context import Context
from builder.runner.kubernetes.tokens import is_source_token
from builder.runners import SourceDoor
from shared.auth import Claims
from shared.errors import ForbiddenError, NotFoundError, UnauthenticatedError

READ = "builder:read"
WRITE = "builder:write"


def get_context(request: Request) -> Context:
    """What the lifespan made."""
    context: Context = request.app.state.context
    return context


def require(scope: str) -> Callable[[Request], Awaitable[Claims]]:
    """A dependency that lets through bearer tokens for this service with `scope` and gives their claims."""

    async def check(request: Request) -> Claims:
        claims = await get_context(request).tokens.verify(_bearer(request))
        if scope not in claims.scopes:
            raise ForbiddenError(f"the access token lacks the scope {scope}")
        return claims

    return check


def door_of_build(build_id: UUID, request: Request) -> SourceDoor:
    """A dependency that lets through the token that this build was given, and gives the way to its source."""
    door = get_context(request).source_door
    if door is None:
        raise NotFoundError("builds of this builder take their source elsewhere")
    if not is_source_token(door.token_key, build_id, _bearer(request)):
        raise ForbiddenError("this is not the token of that build")
    return door


def _bearer(request: Request) -> str:
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError(
            "send an access token for the builder as `Authorization: Bearer ...`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return token


InContext = Annotated[Context, Depends(get_context)]
CanRead = Annotated[Claims, Depends(require(READ))]
CanWrite = Annotated[Claims, Depends(require(WRITE))]
OwnSource = Annotated[SourceDoor, Depends(door_of_build)]
