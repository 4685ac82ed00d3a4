"""Pages for people: log in, log out, and what follows."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from passport.api.deps import BrowserDep, ContextDep, both, peer_address, session_cookie, session_secret
from passport.api.forms import check_form, form_binding, form_cookie, read_form, seal_form, set_cookie
from passport.api.registration import can_register
from passport.api.rendering import error_page, page, stylesheet
from passport.api.targets import form_targets
from passport.context import Context
from passport.domain.errors import (
    FormRefusedError,
    InvalidCredentialsError,
    RequestBodyError,
    TooManyAttemptsError,
)
from passport.domain.redirects import safe_next
from passport.settings import REGISTRATION_PATH

router = APIRouter()
_LOGIN: Final = "/user/login/"


@router.get("/")
async def home(request: Request, context: ContextDep, browser: BrowserDep) -> Response:
    """Who is signed in, and a way out; or to the login page."""
    if browser is None:
        return RedirectResponse(_LOGIN, status_code=302)
    form_token = seal_form(context, session_secret(request, context) or "")
    return page("home", username=browser.account.username, form_token=form_token)


@router.get("/passport.css")
async def style() -> Response:
    """The style of all pages."""
    return Response(stylesheet(), media_type="text/css", headers={"Cache-Control": "public, max-age=3600"})


@both(router, _LOGIN, "GET")
async def login_form(request: Request, context: ContextDep) -> Response:
    """The login form. It is shown to those who are signed in, too: they may have been asked to prove it."""
    return await _login_page(request, context, target=safe_next(request.query_params.get("next")))


@both(router, _LOGIN, "POST")
async def login(request: Request, context: ContextDep) -> Response:
    """Check the password, begin a session, go on to `next`, which is a path of ours."""
    try:
        fields = await read_form(request)
        check_form(request, context, fields, binding=request.cookies.get(form_cookie(context)))
    except (RequestBodyError, FormRefusedError) as exc:
        return error_page(exc.title, exc.detail, status=exc.status)
    values = dict(fields)
    target = safe_next(values.get("next"))
    username = values.get("username", "").strip()
    try:
        account = await context.logins.authenticate(username, values.get("password", ""), address=peer_address(request))
    except InvalidCredentialsError as exc:
        return await _login_page(request, context, target=target, username=username, error=exc.detail)
    except TooManyAttemptsError as exc:
        response = await _login_page(request, context, target=target, error=exc.detail, status=exc.status)
        response.headers.update(exc.headers)
        return response
    secret = await context.logins.sign_in(account, replaces=session_secret(request, context))
    response = RedirectResponse(target, status_code=303)
    lifetime = int(context.settings.session_lifetime.total_seconds())
    set_cookie(response, context, session_cookie(context), secret, max_age=lifetime)
    return response


@both(router, "/user/login/done/", "GET")
async def login_done() -> Response:
    """Where the controller sends people who have logged in for their command line."""
    return page("done")


@both(router, "/user/logout/", "GET")
async def logout_form(request: Request, context: ContextDep, browser: BrowserDep) -> Response:
    """Ask first: a link or an image on a foreign page must not log anybody out."""
    target = safe_next(request.query_params.get("next"), default=_LOGIN)
    if browser is None:
        return RedirectResponse(target, status_code=302)
    form_token = seal_form(context, session_secret(request, context) or "")
    return page("logout", username=browser.account.username, form_token=form_token, next=target)


@both(router, "/user/logout/", "POST")
async def logout(request: Request, context: ContextDep) -> Response:
    """End the session; tokens of programs stay."""
    secret = session_secret(request, context)
    try:
        fields = await read_form(request)
        if secret:
            check_form(request, context, fields, binding=secret)
            await context.logins.sign_out(secret)
    except (RequestBodyError, FormRefusedError) as exc:
        return error_page(exc.title, exc.detail, status=exc.status)
    response = RedirectResponse(safe_next(dict(fields).get("next"), default=_LOGIN), status_code=303)
    response.delete_cookie(
        session_cookie(context), path="/", httponly=True, samesite="lax", secure=context.settings.is_https
    )
    return response


async def _login_page(
    request: Request,
    context: Context,
    *,
    target: str,
    username: str = "",
    error: str | None = None,
    status: int = 200,
) -> Response:
    binding = form_binding(request, context)
    response = page(
        "login",
        status=status,
        form_targets=await form_targets(context, target),
        form_token=seal_form(context, binding),
        next=target,
        username=username,
        error=error,
        registration=f"{REGISTRATION_PATH}?{urlencode({'next': target})}" if await can_register(context) else None,
    )
    set_cookie(response, context, form_cookie(context), binding)
    return response
