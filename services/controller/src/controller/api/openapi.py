"""What each endpoint says of itself for the OpenAPI document (`doc`), and the document.

Endpoints answer with dictionaries that are typed by the `documents` modules; the document is made of the same types, so
that the type checker keeps both together.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from fastapi import FastAPI
from starlette.responses import Response

from controller.api.openapi_components import error, schema_of
from controller.api.openapi_document import assemble
from controller.api.openapi_guide import STATUSES

Guard = Literal["person", "builder", "manager", "anyone"]
_FORM: Final = "application/x-www-form-urlencoded"
_SECURITY: Final[Mapping[Guard, list[dict[str, list[str]]]]] = {
    "person": [{"token": []}, {"bearer": []}],
    "builder": [{"builderKey": []}, {"bearer": []}],
    "manager": [{"manager": []}],
    "anyone": [],
}
_ALWAYS: Final[Mapping[Guard, tuple[int, ...]]] = {
    "person": (401, 403, 429, 503),
    "builder": (401, 403, 429, 503),
    "manager": (403, 429, 503),
    "anyone": (429, 503),
}


def doc(
    result: Any = None,
    *,
    status: int = 200,
    body: Any = None,
    body_required: bool = False,
    errors: Collection[int] = (),
    guard: Guard = "person",
    also: Mapping[int, Any] | None = None,
    media_type: str = "application/json",
    body_media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
    request_headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Keyword arguments for a route decorator.

    `result` is the type of the successful answer's JSON, None for an empty one; `also` are further answers of this
    endpoint's own by status (None: empty). `body` is the type of the JSON that the endpoint takes. `errors` are the
    statuses that it may answer besides those that the guard, a body and placeholders in the path bring with them.
    `headers` of the answer, `request_headers`, and `query` (parameters that are no arguments of the function) map
    names to descriptions.
    """
    answers: dict[int | str, dict[str, Any]] = {}
    for code, model in {status: result, **(also or {})}.items():
        answers[code] = _answer(code, model, media_type, headers)
    of_body = (400, 413, 415) if body is not None and body_media_type != _FORM else ()
    for code in sorted({*errors, *_ALWAYS[guard], *of_body} - set(answers)):
        answers[code] = error(code)
    extra: dict[str, Any] = {"security": _SECURITY[guard]}
    if body is not None:
        content = {body_media_type: {"schema": schema_of(body)}}
        extra["requestBody"] = {"required": body_required, "content": content}
    parameters = [*_parameters("header", request_headers or {}), *_parameters("query", query or {})]
    if parameters:
        extra["parameters"] = parameters
    return {"status_code": status, "responses": answers, "openapi_extra": extra, "response_class": Response}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of all routes that `app` has.

    Raises:
        ValueError: two endpoints, or two types, have the same name.
    """
    return assemble(app.routes)


def rendered(app: FastAPI) -> str:
    """The document as the repository keeps it, for people to compare."""
    return json.dumps(document(app), indent=1, ensure_ascii=False) + "\n"


def _parameters(place: str, texts: Mapping[str, str]) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": place, "required": False, "description": text, "schema": {"type": "string"}}
        for name, text in texts.items()
    ]


def _answer(status: int, model: Any, media_type: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": STATUSES[status][1] if status in STATUSES else "Done."}
    if model is not None:
        answer["content"] = {media_type: {"schema": schema_of(model)}}
    if headers:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    return answer
