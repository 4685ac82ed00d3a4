"""Who asks, and the transaction of a request."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Annotated, cast

from fastapi import Depends, Request
from fastapi.security.utils import get_authorization_scheme_param

from hooks.context import Context
from hooks.services.deliveries import DeliveryService
from shared.auth import Claims
from shared.errors import ForbiddenError, UnauthenticatedError

READ = "hooks:read"
WRITE = "hooks:write"


def get_context(request: Request) -> Context:
    """The singletons of this process, set by the lifespan."""
    return cast("Context", request.app.state.context)


ContextDep = Annotated[Context, Depends(get_context)]


async def get_claims(request: Request, context: ContextDep) -> Claims:
    """The verified claims of the bearer token.

    Raises:
        UnauthenticatedError: there is no bearer token, or it is not valid here.
    """
    scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
    if scheme.lower() != "bearer" or not token:
        raise UnauthenticatedError(
            "send an access token for the audience `hooks`: `Authorization: Bearer <token>`",
            headers={"WWW-Authenticate": "Bearer"},
        )
    return await context.verifier.verify(token)


ClaimsDep = Annotated[Claims, Depends(get_claims)]


def _require(claims: Claims, scope: str) -> Claims:
    if scope not in claims.scopes:
        raise ForbiddenError(f"the access token lacks the scope {scope}", scope=scope)
    return claims


def _may_read(claims: ClaimsDep) -> Claims:
    return _require(claims, READ)


def _may_write(claims: ClaimsDep) -> Claims:
    return _require(claims, WRITE)


CanRead = Depends(_may_read)
CanWrite = Depends(_may_write)


async def get_service(context: ContextDep) -> AsyncIterator[DeliveryService]:
    """The use cases within one transaction, which commits before the answer is sent."""
    async with context.database.transaction() as session:
        yield context.delivery_service(session)


# scope="function": the commit comes before the answer, so that a failed commit is not answered with 2xx.
Service = Annotated[DeliveryService, Depends(get_service, scope="function")]
