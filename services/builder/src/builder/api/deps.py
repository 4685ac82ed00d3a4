"""Who asks, and what they may do here."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security.utils import get_authorization_scheme_param

from builder.context import Context
from builder.domain.errors import RegistryLoginError
from builder.runner.kubernetes.tokens import is_source_token
from builder.runners import SourceDoor
from builder.services.registry_access import RegistryAccess
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


def token_server(request: Request) -> RegistryAccess:
    """A dependency that gives the token server of the registry.

    Raises:
        NotFoundError: we are none.
    """
    registry = get_context(request).registry
    if registry is None:
        raise NotFoundError("this builder makes no tokens for a registry: BUILDER_REGISTRY_TOKEN_KEY is not set")
    return registry


def login_of(request: Request) -> tuple[str, str]:
    """User name and password of the request (RFC 7617).

    Raises:
        RegistryLoginError: it has none that can be read.
    """
    scheme, text = get_authorization_scheme_param(request.headers.get("Authorization"))
    try:
        username, colon, password = b64decode(text, validate=True).decode().partition(":")
    except ValueError:
        colon = ""
    if scheme.lower() != "basic" or not colon:
        raise RegistryLoginError("send the user name and password of an account of the registry")
    return username, password


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
TokenServer = Annotated[RegistryAccess, Depends(token_server)]
Login = Annotated[tuple[str, str], Depends(login_of)]
OwnSource = Annotated[SourceDoor, Depends(door_of_build)]
