"""RFC 9457 problem documents: how our services tell each other, and clients that ask for it, what went wrong."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketState

from shared.db.database import DatabaseAwayError
from shared.errors import SuiteError, UnavailableError
from shared.logging import current_request_id, get_logger

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_SECONDS = "2"
log = get_logger(__name__)


def problem(error: SuiteError, *, instance: str | None) -> dict[str, object]:
    """The problem document of `error`. `instance` is the request id; facts become extension members."""
    document: dict[str, object] = {
        **error.facts,
        "type": f"urn:workflow:problem:{error.code}",
        "code": error.code,
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
    }
    if error.field is not None:
        document["field"] = error.field
    if instance is not None:
        document["instance"] = instance
    return document


def problem_response(error: SuiteError) -> JSONResponse:
    """The answer that carries `error`."""
    document = problem(error, instance=current_request_id())
    return JSONResponse(document, status_code=error.status, headers=error.headers, media_type=MEDIA_TYPE)


def install_problem_handlers(app: FastAPI) -> None:
    """Answer every error of `app` with a problem document: ours, failed validation (422), HTTP errors, surprises (500).
    A database that is away is a 503, in the words in which `app` answers our errors.

    Surprises are logged with their traceback by the request middleware; the answer says nothing about them.
    """
    app.add_exception_handler(SuiteError, _on_suite_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_surprise)
    app.add_exception_handler(DatabaseAwayError, _on_database_away)


async def _on_suite_error(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, SuiteError)  # noqa: S101  the handler is registered for this class
    log.info("request_refused", code=exc.code, status=exc.status, detail=exc.detail)
    return problem_response(exc)


async def _on_validation_error(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, RequestValidationError)  # noqa: S101
    # The rejected input is left out: it may be a password.
    errors = [
        {"field": ".".join(str(part) for part in error["loc"]), "message": error["msg"]} for error in exc.errors()
    ]
    detail = "; ".join(f"{error['field']}: {error['message']}" for error in errors)
    return _document(422, "invalid-input", "Invalid input", detail, errors=errors)


async def _on_http_error(_request: Request, exc: Exception) -> JSONResponse:
    assert isinstance(exc, HTTPException)  # noqa: S101
    title = HTTPStatus(exc.status_code).phrase
    code = title.lower().replace(" ", "-")
    response = _document(exc.status_code, code, title, str(exc.detail))
    response.headers.update(exc.headers or {})
    return response


async def _on_database_away(connection: HTTPConnection, exc: Exception) -> Response:
    if isinstance(connection, WebSocket) and connection.application_state is not WebSocketState.CONNECTING:
        raise exc  # accepted already: the server closes it
    error = UnavailableError("the database is busy or away; try again", headers={"Retry-After": RETRY_AFTER_SECONDS})
    response: Response = await connection.app.exception_handlers[SuiteError](connection, error)
    return response


async def _on_surprise(_request: Request, _exc: Exception) -> JSONResponse:
    return _document(500, "internal", SuiteError.title, "An unexpected error was logged under this request id.")


def _document(status: int, code: str, title: str, detail: str, **facts: object) -> JSONResponse:
    body: dict[str, object] = {
        "type": f"urn:workflow:problem:{code}",
        "code": code,
        "title": title,
        "status": status,
        "detail": detail,
        **facts,
    }
    if (instance := current_request_id()) is not None:
        body["instance"] = instance
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE)
