"""The endpoints of OAuth: authorize, token, revoke, introspect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from passport.api.deps import BrowserDep, ContextDep, both, forwarded_address, session_secret
from passport.api.forms import FORM_FIELD, Parameters, check_form, read_form, read_query, seal_form
from passport.api.rendering import error_page, page
from passport.context import Context
from passport.domain.accounts import BrowserSession
from passport.domain.errors import FormRefusedError, RequestBodyError
from passport.services.oauth.provider import ConsentNeeded, LoginNeeded
from passport.services.oauth.requests import OAuthResult, ParsedRequest

router = APIRouter()

AUTHORIZE: Final = "/oauth/authorize/"
# Fields of the consent form itself: out of a query, `allow` would turn the button that denies into one that allows.
_NOT_PASSED_ON: Final = frozenset({FORM_FIELD, "allow", "deny"})
_HONOURED: Final = frozenset({"prompt", "max_age"})
_WRONG_REQUEST: Final = "The request for access is not valid"


@both(router, AUTHORIZE, "GET")
async def authorize(request: Request, context: ContextDep, browser: BrowserDep) -> Response:
    """Ask whoever sits at the browser to log in and to consent, as far as needed; then send them back."""
    try:
        parsed = _parsed(request, read_query(request))
    except RequestBodyError as exc:
        return error_page(_WRONG_REQUEST, exc.detail, status=400)
    outcome = await context.provider.authorize(parsed, browser)
    if isinstance(outcome, LoginNeeded):
        return _to_login(read_query(request))
    if isinstance(outcome, ConsentNeeded):
        return _consent_page(request, context, browser, outcome)
    return _present(outcome) if outcome.location else _refusal_page(outcome)


@both(router, AUTHORIZE, "POST")
async def decide(request: Request, context: ContextDep, browser: BrowserDep) -> Response:
    """Take the answer of the consent page."""
    try:
        fields = await read_form(request)
        if browser is not None:
            check_form(request, context, fields, binding=session_secret(request, context))
    except (RequestBodyError, FormRefusedError) as exc:
        return error_page(exc.title, exc.detail, status=exc.status)
    parameters = _passed_on(fields)
    if browser is None:
        return _to_login(parameters)
    pressed = {name for name, _ in fields} & {"allow", "deny"}
    result = await context.provider.decide(_parsed(request, parameters), browser, is_allowed=pressed == {"allow"})
    if result.location is None:
        return _refusal_page(result)
    return _present(result, redirect_status=303)  # the browser must not send the form on (RFC 9700 section 4.12)


@both(router, "/oauth/token/", "POST")
async def token(request: Request, context: ContextDep) -> Response:
    """Exchange a grant for tokens."""
    return await _answer(request, context.provider.token)


@both(router, "/oauth/revoke_token/", "POST")
async def revoke(request: Request, context: ContextDep) -> Response:
    """Revoke a token and all of its family."""
    return await _answer(request, context.provider.revoke)


@both(router, "/oauth/introspect/", "POST")
async def introspect(request: Request, context: ContextDep) -> Response:
    """Tell what a token is worth."""
    return await _answer(request, context.provider.introspect)


async def _answer(request: Request, endpoint: Callable[[ParsedRequest], Awaitable[OAuthResult]]) -> Response:
    try:
        parsed = _parsed(request, await read_form(request))
    except RequestBodyError as exc:
        body = {"error": "invalid_request", "error_description": exc.detail}
        return JSONResponse(body, status_code=400)
    return _present(await endpoint(parsed))


def _parsed(request: Request, parameters: Parameters) -> ParsedRequest:
    return ParsedRequest(
        request.method,
        request.url.path,
        parameters=parameters,
        headers=request.headers,
        address=forwarded_address(request),
    )


def _passed_on(fields: Parameters) -> Parameters:
    return [(name, value) for name, value in fields if name not in _NOT_PASSED_ON]


def _present(result: OAuthResult, *, redirect_status: int = 302) -> Response:
    if result.location is not None:
        return RedirectResponse(result.location, status_code=redirect_status)
    headers = {name: value for name, value in result.headers.items() if name.lower() != "content-type"}
    return JSONResponse(result.body, status_code=result.status, headers=headers)


def _refusal_page(result: OAuthResult) -> Response:
    """For people: where a request comes from is not known well enough to send them back there."""
    body = result.body if isinstance(result.body, dict) else {}
    detail = str(body.get("error_description") or body.get("error") or _WRONG_REQUEST)
    return error_page(_WRONG_REQUEST, detail, status=result.status)


def _to_login(parameters: Parameters) -> Response:
    """To the login page and back here. What asked for the login is left out, or it would ask again and again."""
    kept = [(name, value) for name, value in parameters if name not in _HONOURED]
    prompts = [word for name, value in parameters if name == "prompt" for word in value.split() if word != "login"]
    if prompts:
        kept.append(("prompt", " ".join(prompts)))
    return RedirectResponse(f"/user/login/?{urlencode({'next': f'{AUTHORIZE}?{urlencode(kept)}'})}", status_code=302)


def _consent_page(
    request: Request, context: Context, browser: BrowserSession | None, question: ConsentNeeded
) -> Response:
    assert browser is not None  # noqa: S101  nobody is asked before they have logged in
    return page(
        "consent",
        form_targets=[question.redirect_uri],
        client_name=question.client_name,
        username=browser.account.username,
        scopes=question.scopes,
        parameters=[(name, value) for name, value in _passed_on(read_query(request)) if name not in _HONOURED],
        form_token=seal_form(context, session_secret(request, context) or ""),
    )
