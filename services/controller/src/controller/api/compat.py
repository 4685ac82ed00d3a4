"""The compatible dialect of errors: the one place where errors of the suite become what released clients parse.

Clients that ask for `application/problem+json` get RFC 9457 instead.
"""

from __future__ import annotations

from typing import ClassVar, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Match, Route

from controller.domain.errors import InvalidFieldsError, InvalidValueError
from shared.errors import ForbiddenError, InvalidInputError, NotFoundError, SuiteError, UnauthenticatedError
from shared.logging import get_logger
from shared.problem import MEDIA_TYPE, problem_response

FORBIDDEN: Final = "You do not have permission to perform this action."
ANONYMOUS: Final = "Authentication credentials were not provided."
NOT_FOUND_PAGE: Final = (
    '<!doctype html>\n<html lang="en">\n<head>\n  <title>Not Found</title>\n</head>\n<body>\n'
    "  <h1>Not Found</h1><p>The requested resource was not found on this server.</p>\n</body>\n</html>\n"
)
log = get_logger(__name__)


class BareTextError(InvalidInputError):
    """A 400 whose body is the bare text as a JSON string."""

    code: ClassVar[str] = "invalid-value"


class HookForbiddenError(ForbiddenError):
    """A user may not do with an app what a builder asks for; the text is the whole body."""

    def __init__(self, app: str) -> None:
        super().__init__(f"{app} object does not exist or does not have permission.", app=app)


class HookBlockedError(HookForbiddenError):
    """Nobody may do anything with the app; the remark on the block is the whole body."""

    def __init__(self, app: str, remark: str) -> None:
        super().__init__(app)
        self.detail = remark


class EmptyNotFoundError(NotFoundError):
    """A 404 without a body."""

    def __init__(self) -> None:
        super().__init__("")


class MediaTypeError(SuiteError):
    """The body is not JSON."""

    code: ClassVar[str] = "unsupported-media-type"
    status: ClassVar[int] = 415
    title: ClassVar[str] = "Unsupported media type"

    def __init__(self, media_type: str) -> None:
        super().__init__(f'Unsupported media type "{media_type}" in request.')


class BodyTooLargeError(SuiteError):
    """The body is larger than this platform accepts."""

    code: ClassVar[str] = "body-too-large"
    status: ClassVar[int] = 413
    title: ClassVar[str] = "The request is too large"


def install(app: FastAPI) -> None:
    """Answer every error of `app` in the compatible dialect."""
    app.add_exception_handler(SuiteError, _on_suite_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(Exception, _on_surprise)


def render(error: SuiteError, *, accept: str) -> Response:
    """The answer that carries `error`, in the dialect that the client understands."""
    if MEDIA_TYPE in accept:
        return problem_response(error)
    if isinstance(error, EmptyNotFoundError):
        return Response(status_code=error.status)
    return JSONResponse(body_of(error), status_code=error.status, headers=_headers(error))


def body_of(error: SuiteError) -> object:
    """The body that released clients parse for `error`."""
    if isinstance(error, InvalidFieldsError):
        return error.errors
    if isinstance(error, InvalidValueError):
        return [error.detail]
    if isinstance(error, NotFoundError | BareTextError | HookForbiddenError):
        return error.detail
    if isinstance(error, ForbiddenError):
        return {"detail": FORBIDDEN}
    if error.status == 400 and error.field is not None:
        return {error.field: [error.detail]}
    return {"detail": error.detail}


def _headers(error: SuiteError) -> dict[str, str]:
    if isinstance(error, UnauthenticatedError):
        return {"WWW-Authenticate": "token", **error.headers}
    return error.headers


async def _on_suite_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, SuiteError)  # noqa: S101  the handler is registered for this class
    log.info("request_refused", code=exc.code, status=exc.status, detail=exc.detail)
    return render(exc, accept=request.headers.get("accept", ""))


async def _on_http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101
    if exc.status_code == 404:
        return HTMLResponse(NOT_FOUND_PAGE, status_code=404)
    if exc.status_code == 405:
        return _method_not_allowed(request)
    return JSONResponse({"detail": exc.detail}, status_code=exc.status_code, headers=exc.headers)


def _method_not_allowed(request: Request) -> Response:
    headers = {"Allow": ", ".join(sorted(_methods_at(request)))}
    if not request.url.path.startswith("/v2"):
        return Response(status_code=405, headers=headers)
    return JSONResponse({"detail": f'Method "{request.method}" not allowed.'}, status_code=405, headers=headers)


def _methods_at(request: Request) -> set[str]:
    """What the path takes, of all routes that it has: the router tells of the first one only."""
    routes = [route for route in request.app.router.routes if isinstance(route, Route)]
    fitting = [route for route in routes if route.matches(request.scope)[0] is not Match.NONE]
    methods = {method for route in fitting for method in route.methods or ()}
    return methods | {"HEAD"} if "GET" in methods else methods


async def _on_validation_error(_request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101
    errors: dict[str, list[str]] = {}
    for error in exc.errors():
        errors.setdefault(str(error["loc"][-1]), []).append(error["msg"])
    return JSONResponse(errors, status_code=400)


async def _on_surprise(_request: Request, _exc: Exception) -> Response:
    return JSONResponse({"detail": "Server Error"}, status_code=500)
