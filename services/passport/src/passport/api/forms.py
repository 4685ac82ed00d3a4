"""Reading forms, and making sure that they come from our own pages."""

from __future__ import annotations

import asyncio
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from fastapi import Request
from starlette.responses import Response

from passport.context import Context
from passport.domain.errors import FormRefusedError, RequestBodyError
from passport.domain.secrets import new_secret, same

BODY_MAX: Final = 64 * 1024
_FIELDS_MAX: Final = 64
_BODY_SECONDS: Final = 15.0
_MEDIA_TYPE: Final = "application/x-www-form-urlencoded"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
FORM_FIELD: Final = "form_token"

Parameters = list[tuple[str, str]]


async def read_form(request: Request) -> Parameters:
    """The fields of an urlencoded body.

    Raises:
        RequestBodyError: the body is something else, longer than 64 KiB, or slower than 15 seconds.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != _MEDIA_TYPE:
        raise RequestBodyError(f"Send the parameters as {_MEDIA_TYPE} in the body.")
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > BODY_MAX:
                    raise RequestBodyError(f"The body is longer than {BODY_MAX} bytes.")
    except TimeoutError:
        raise RequestBodyError("The body took too long to arrive.") from None
    return _parse(bytes(body))


def read_query(request: Request) -> Parameters:
    """The parameters of the query.

    Raises:
        RequestBodyError: they cannot be read.
    """
    query: bytes = request.scope["query_string"]
    return _parse(query)


def _parse(encoded: bytes) -> Parameters:
    try:
        text = encoded.decode("ascii")
        fields = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=_FIELDS_MAX)
    except ValueError:
        raise RequestBodyError("The parameters cannot be read: send them urlencoded, in UTF-8.") from None
    if any("\x00" in name or "\x00" in value for name, value in fields):
        raise RequestBodyError("Parameters have no NUL characters.")
    return fields


def check_form(request: Request, context: Context, fields: Parameters, *, binding: str | None) -> None:
    """Make sure that the form was sent from a page of ours to the browser that `binding`, a cookie, stands for.

    The seal alone would not do: other hosts of our domain can set cookies. The headers are what those cannot forge.

    Raises:
        FormRefusedError: it was not.
    """
    origin = request.headers.get("origin")
    site = request.headers.get("sec-fetch-site", "same-origin")
    is_ours = origin is None or _normal(origin) == _normal(context.settings.public_origin)
    given = dict(fields).get(FORM_FIELD, "")
    if not binding or not is_ours or site not in ("same-origin", "none"):
        raise FormRefusedError
    if not same(given.encode(), seal_form(context, binding).encode()):
        raise FormRefusedError


def seal_form(context: Context, binding: str) -> str:
    """The value of the hidden field of a form for the browser that `binding` stands for."""
    return context.sealer.seal("form", binding).hex()


def form_cookie(context: Context) -> str:
    """Name of the cookie that stands for a browser in which nobody is signed in."""
    return "__Host-passport_form" if context.settings.is_https else "passport_form"


def form_binding(request: Request, context: Context) -> str:
    """The value of the form cookie, or a new one."""
    given = request.cookies.get(form_cookie(context), "")
    return given if 20 <= len(given) <= 128 else new_secret()


def set_cookie(response: Response, context: Context, name: str, value: str, *, max_age: int | None = None) -> None:
    """Set a cookie that scripts and foreign sites' requests do not get; over TLS only, where we have TLS."""
    response.set_cookie(
        name, value, max_age=max_age, path="/", httponly=True, samesite="lax", secure=context.settings.is_https
    )


def _normal(origin: str) -> tuple[str, str | None, int | None] | None:
    try:
        parts = urlsplit(origin)
        return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
