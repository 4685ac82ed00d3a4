"""Logging in: what the client calls, and the steps of the browser."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated, Final
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import APIRouter, Cookie, Query, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from controller.api import pages
from controller.api.body import Body
from controller.api.compat import EmptyNotFoundError
from controller.api.deps import Ctx
from controller.api.documents_accounts import LoginAnswer, LoginKey, LoginRequest, LoginResult
from controller.api.openapi import doc
from controller.api.transport import LOGIN_KEY
from controller.context import Context
from controller.domain.fields import FieldChecker
from controller.services.id_tokens import InvalidIdTokenError
from controller.services.login import LoginRefusedError, NoSuchLoginError, Origin
from controller.settings import Settings
from shared.errors import SuiteError, UnavailableError

router = APIRouter(prefix="/v2")
FORM_COOKIE: Final = "drycc_login_form"
BINDING_COOKIE: Final = "drycc_login"
DENIED: Final = {"token": "fail", "username": "-"}
_MOST_FORM_BYTES: Final = 4096
_HTML: Final = "text/html"
_FORM: Final = "application/x-www-form-urlencoded"
Key = Annotated[str, Query(description="The key of the login.")]
State = Annotated[str, Query(description="As it was sent to the identity provider.")]
Code = Annotated[str | None, Query(description="The identity provider's; without one the person refused there.")]
FormCookie = Annotated[str | None, Cookie(alias=FORM_COOKIE, description="From the page that asks.")]
Binding = Annotated[str | None, Cookie(alias=BINDING_COOKIE, description="From when the browser left.")]
Alias = Annotated[str, Query(description="What lists of tokens call it; cut at 32 characters.")]
_STRANGE = "This page was not opened by the platform. Start again with `drycc login`."


@router.post(
    "/auth/login",
    operation_id="start_login",
    **doc(
        LoginKey,
        body=LoginRequest,
        also={302: None},
        headers={"Location": "With 302: the page that asks the person; its `key` is what to poll with."},
        guard="anyone",
    ),
)
async def start(request: Request, body: Body, ctx: Ctx) -> Response:
    """With a user name and password: log in. Without: begin a login in the browser, at the address in `Location`."""
    fields = FieldChecker(body)
    username, password = fields.text("username", null=True), _password(body, fields)
    fields.finish()
    origin = Origin(address=request.client.host if request.client else "", client=request.headers.get("user-agent", ""))
    if username and password:
        return JSONResponse({"key": await ctx.logins.sign_in(username, password, origin)})
    key = await ctx.logins.start_in_browser(origin)
    location = f"{ctx.settings.public_url}/v2/login/drycc/?{urlencode({'key': key})}"
    return Response(status_code=302, headers={"Location": location})


@router.get("/auth/token", operation_id="poll_login", **doc(LoginResult, also={404: None}, guard="anyone"))
async def poll(request: Request, ctx: Ctx, alias: Alias = "") -> Response:
    """The token of a login that was allowed, once; `fail` for one that was refused; 404 while there is no answer."""
    key = getattr(request.state, LOGIN_KEY, None)
    if key is None:
        raise EmptyNotFoundError
    try:
        issued = await ctx.logins.poll(key, alias=alias.replace("\0", ""))
    except NoSuchLoginError:
        raise EmptyNotFoundError from None
    if issued is None:
        return JSONResponse(DENIED)
    return JSONResponse({"token": issued.token, "username": issued.username}, headers={"Cache-Control": "no-store"})


@router.get(
    "/login/drycc",
    operation_id="ask_about_login",
    **doc(str, also={404: str}, media_type=_HTML, guard="anyone"),
)
async def ask(ctx: Ctx, key: Key = "") -> Response:
    """Ask the person in front of the browser whether they started this login."""
    try:
        attempt = await ctx.logins.get(key)
    except NoSuchLoginError as error:
        return _ended(error)
    form_token = secrets.token_urlsafe(32)
    passport = _origin_of(ctx.settings.issuer)
    response = pages.question(attempt, key=key, form_token=form_token, passport=passport)
    _set_cookie(response, ctx.settings, FORM_COOKIE, form_token, path="/v2/login", same_site="strict")
    return response


@router.post(
    "/login/drycc",
    operation_id="answer_about_login",
    **doc(
        str,
        body=LoginAnswer,
        body_media_type=_FORM,
        also={303: None, 403: str, 404: str},
        media_type=_HTML,
        guard="anyone",
    ),
)
async def answer(request: Request, ctx: Ctx, form_cookie: FormCookie = None) -> Response:
    """The person's answer: off to passport, or refused."""
    form = await _read_form(request)
    if not _is_own_form(request, ctx, form, form_cookie):
        return pages.message("Not logged in", _STRANGE, status=403)
    try:
        if form.get("answer") != "yes":
            await ctx.logins.deny(form.get("key", ""))
            return pages.message("Refused", "Nobody is logged in. You can close this page.", status=200)
        departure = await ctx.logins.depart(form.get("key", ""))
    except NoSuchLoginError as error:
        return _ended(error)
    response = RedirectResponse(departure.url, status_code=303)
    _set_cookie(response, ctx.settings, BINDING_COOKIE, departure.binding, path="/v2/complete", same_site="lax")
    return response


@router.get(
    "/complete/drycc",
    operation_id="complete_login",
    **doc(status=302, also={403: str, 503: str}, media_type=_HTML, guard="anyone"),
)
async def complete(
    ctx: Ctx,
    state: State = "",
    code: Code = None,
    binding: Binding = None,
) -> Response:
    """The browser is back from passport."""
    try:
        await ctx.logins.arrive(state=state, code=code, binding=binding)
    except (LoginRefusedError, InvalidIdTokenError) as error:
        return _ended(error)
    except UnavailableError as error:
        return pages.message("Not logged in", f"{error.detail}. Start again with `drycc login`.", status=503)
    done = ctx.settings.issuer.removesuffix("/oauth") + "/user/login/done/"
    response = RedirectResponse(done, status_code=302)
    response.delete_cookie(BINDING_COOKIE, path="/v2/complete")
    return response


def _ended(error: SuiteError) -> Response:
    return pages.message("Not logged in", error.detail, status=error.status)


def _password(body: Body, fields: FieldChecker) -> str:
    # Not trimmed: blanks are part of a password.
    value = body.get("password")
    if value is not None and not isinstance(value, str):
        fields.fail("password", "Not a valid string.")
        return ""
    return value or ""


async def _read_form(request: Request) -> dict[str, str]:
    raw = bytearray()
    async for chunk in request.stream():
        raw += chunk
        if len(raw) > _MOST_FORM_BYTES:
            return {}
    return {name: values[0] for name, values in parse_qs(raw.decode("utf-8", "replace")).items()}


def _is_own_form(request: Request, ctx: Context, form: dict[str, str], cookie: str | None) -> bool:
    """Whether the form is one that we gave to this browser: another site's page must not click for the person."""
    origin = request.headers.get("origin")
    if origin is not None and origin != _origin_of(ctx.settings.public_url):
        return False
    given = form.get("form_token", "")
    return cookie is not None and given != "" and hmac.compare_digest(cookie.encode(), given.encode())


def _set_cookie(response: Response, settings: Settings, name: str, value: str, *, path: str, same_site: str) -> None:
    response.set_cookie(
        name,
        value,
        max_age=int(settings.login_lifetime.total_seconds()),
        path=path,
        secure=settings.public_url.startswith("https://"),
        httponly=True,
        samesite="strict" if same_site == "strict" else "lax",
    )


def _origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"
