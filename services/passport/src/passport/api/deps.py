"""What routes ask for: the context, who is signed in, where the request comes from; and paths with or without slash."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request

from passport.context import Context
from passport.domain.accounts import Account, BrowserSession
from passport.domain.tokens import AccessToken

F = TypeVar("F", bound=Callable[..., Any])


def get_context(request: Request) -> Context:
    """The context that the lifespan made."""
    context: Context = request.app.state.context
    return context


ContextDep = Annotated[Context, Depends(get_context)]


def both(router: APIRouter, path: str, *methods: str) -> Callable[[F], F]:
    """Register a route at `path` with and without a slash at its end."""

    def register(handler: F) -> F:
        plain = path.rstrip("/")
        for variant in (plain, f"{plain}/"):
            router.add_api_route(variant, handler, methods=list(methods), response_model=None)
        return handler

    return register


def session_cookie(context: Context) -> str:
    """Name of the session cookie; `__Host-` keeps other hosts of the domain from setting it."""
    return "__Host-passport_session" if context.settings.is_https else "passport_session"


def session_secret(request: Request, context: Context) -> str | None:
    """The secret of the browser's session, if it sent one."""
    return request.cookies.get(session_cookie(context))


async def find_browser(request: Request, context: ContextDep) -> BrowserSession | None:
    """Who is signed in in this browser."""
    return await context.logins.find_session(session_secret(request, context))


BrowserDep = Annotated[BrowserSession | None, Depends(find_browser)]


def bearer_token(request: Request) -> str | None:
    """The token of the Authorization header, and of no other place (RFC 9700 section 4.3.2)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None


async def find_person(request: Request, context: ContextDep, browser: BrowserDep) -> Account | None:
    """Who asks: by session, or by an access token that tells about a person."""
    if browser is not None:
        return browser.account
    token = bearer_token(request)
    found: AccessToken | None = await context.provider.find_access_token(token) if token else None
    return found.account if found and found.scopes & {"openid", "profile"} else None


PersonDep = Annotated[Account | None, Depends(find_person)]


def peer_address(request: Request) -> str | None:
    """Where the browser is: the server has put in what a trusted proxy says."""
    return (request.client.host or None) if request.client else None


def forwarded_address(request: Request) -> str | None:
    """Where the person behind a client is, if the client says so.

    Otherwise the peer is the client itself: counting its people's wrong passwords for that would lock out all of them.
    """
    return peer_address(request) if "x-forwarded-for" in request.headers else None
