"""The page on which people make an account of their own, where the operator allows that."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from passport.api.deps import ContextDep, both, peer_address, session_cookie, session_secret
from passport.api.forms import check_form, form_binding, form_cookie, read_form, seal_form, set_cookie
from passport.api.rendering import error_page, page
from passport.api.targets import form_targets
from passport.context import Context
from passport.domain.accounts import Account, NewAccount, check_password
from passport.domain.errors import (
    AccountExistsError,
    BootstrapOverError,
    FormRefusedError,
    InvalidAccountError,
    RegistrationClosedError,
    RequestBodyError,
    TooManyAttemptsError,
    WrongBootstrapCodeError,
)
from passport.domain.redirects import safe_next
from passport.settings import REGISTRATION_PATH

router = APIRouter()


async def can_register(context: Context) -> bool:
    """Whether there is a form for the one who asks: registration is open, or the first account is to be made."""
    return context.settings.is_registration_open or await context.bootstrap.is_pending()


@both(router, REGISTRATION_PATH, "GET")
async def registration_form(request: Request, context: ContextDep) -> Response:
    """The form, or who makes accounts instead."""
    if not await can_register(context):
        return _closed_page(context, status=200)
    return await _form_page(request, context, target=safe_next(request.query_params.get("next")))


@both(router, REGISTRATION_PATH, "POST")
async def register(request: Request, context: ContextDep) -> Response:
    """Make the account, begin a session, go on to `next`, which is a path of ours."""
    # Asked once: what is decided further down must not change because somebody else is quicker.
    is_first = await context.bootstrap.is_pending()
    if not is_first and not context.settings.is_registration_open:
        return _closed_page(context, status=RegistrationClosedError.status)
    try:
        fields = await read_form(request)
        check_form(request, context, fields, binding=request.cookies.get(form_cookie(context)))
    except (RequestBodyError, FormRefusedError) as exc:
        return error_page(exc.title, exc.detail, status=exc.status)
    values = dict(fields)
    target = safe_next(values.get("next"))
    username, email = values.get("username", "").strip(), values.get("email", "").strip()
    try:
        account = await _create(request, context, username, email, values, is_first=is_first)
    except BootstrapOverError as exc:
        return error_page(exc.title, exc.detail, status=exc.status)
    except (InvalidAccountError, AccountExistsError, WrongBootstrapCodeError, TooManyAttemptsError) as exc:
        status = exc.status if isinstance(exc, TooManyAttemptsError) else 200
        response = await _form_page(
            request, context, target=target, username=username, email=email, error=exc.detail, status=status
        )
        response.headers.update(exc.headers)
        return response
    secret = await context.logins.sign_in(account, replaces=session_secret(request, context))
    response = RedirectResponse(target, status_code=303)
    lifetime = int(context.settings.session_lifetime.total_seconds())
    set_cookie(response, context, session_cookie(context), secret, max_age=lifetime)
    return response


async def _create(
    request: Request, context: Context, username: str, email: str, values: dict[str, str], *, is_first: bool
) -> Account:
    password = values.get("password1", "")
    new = NewAccount(username, email)
    if not email:
        raise InvalidAccountError("Give an e-mail address like name@example.com.", field="email")
    if password != values.get("password2", ""):
        raise InvalidAccountError("The two passwords differ.", field="password")
    check_password(password, username=username, email=email)
    code = values.get("bootstrap_code", "").strip()
    # Counted where names and codes could be guessed and hashing costs, not for slips of the keyboard.
    await context.logins.count_registration(address=peer_address(request))
    if code or is_first:
        return await context.bootstrap.register(username, email=email, password=password, code=code)
    return await context.accounts.create(new, password=password)


def _closed_page(context: Context, *, status: int) -> Response:
    error = RegistrationClosedError(context.settings.registration)
    return error_page(error.title, error.detail, status=status)


async def _form_page(
    request: Request,
    context: Context,
    *,
    target: str,
    username: str = "",
    email: str = "",
    error: str | None = None,
    status: int = 200,
) -> Response:
    binding = form_binding(request, context)
    response = page(
        "registration",
        status=status,
        form_targets=await form_targets(context, target),
        form_token=seal_form(context, binding),
        next=target,
        username=username,
        email=email,
        asks_code=await context.bootstrap.is_pending(),
        error=error,
    )
    set_cookie(response, context, form_cookie(context), binding)
    return response
