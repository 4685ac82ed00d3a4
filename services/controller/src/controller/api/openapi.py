"""The OpenAPI document: what each endpoint says of itself (`doc`), and how the whole is put together.

Endpoints answer with dictionaries that are typed by `documents`; the document is made of the same types, so that the
type checker keeps both together.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Final, Literal

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import TypeAdapter
from starlette.responses import JSONResponse, Response

from controller.api import documents
from controller.api.transport import API_VERSION, STANDARD_HEADERS
from shared.problem import MEDIA_TYPE

Guard = Literal["person", "builder", "manager", "anyone"]
_REFERENCE: Final = "#/components/schemas/{model}"
_SECURITY: Final[Mapping[Guard, list[dict[str, list[str]]]]] = {
    "person": [{"token": []}, {"bearer": []}],
    "builder": [{"builderKey": []}, {"bearer": []}],
    "manager": [{"manager": []}],
    "anyone": [],
}
_SCHEMES: Final = {
    "token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Authorization: token <key>`, the key that a login gives.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
    "builderKey": {"type": "apiKey", "in": "header", "name": "X-Drycc-Builder-Auth"},
    "manager": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "`Authorization: token <base85 of access:secret>`.",
    },
}
_TEXTS: Final[Mapping[int, str]] = {
    304: "Not changed since the version in If-None-Match.",
    400: "The request is wrong; nothing has changed.",
    401: "Nobody that we know asks.",
    403: "Whoever asks may not do this.",
    404: "There is no such object, or none that the caller may know of.",
    409: "It does not fit what is there.",
    412: "The object is no longer the one in If-Match.",
    413: "The body is larger than this platform accepts.",
    415: "The body is of another media type than the endpoint takes.",
    422: "What is to be removed is not there.",
    423: "Nobody may do this to themselves.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "Something that is needed is away; try again later.",
}
_ERRORS: Final[Mapping[int, Any]] = {
    400: documents.BadRequest,
    403: documents.Forbidden,
    404: documents.Missing,
}
_ALWAYS: Final[Mapping[Guard, tuple[int, ...]]] = {
    "person": (401, 403, 429, 503),
    "builder": (401, 403, 503),
    "manager": (403, 503),
    "anyone": (503,),
}
_EMPTY_ERRORS: Final = frozenset({304, 423})


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
) -> dict[str, Any]:
    """Keyword arguments for a route decorator.

    `result` is the type of the successful answer's JSON, None for an empty one; `also` are further successful answers
    by status (None: empty). `body` is the type of the JSON that the endpoint takes. `errors` are the statuses that it
    may answer besides those that the guard and a body bring with them. `headers` of the answer and `request_headers`
    map names to descriptions.
    """
    statuses = {*errors, *_ALWAYS[guard], *((400, 413, 415) if body is not None else ())}
    answers: dict[int | str, dict[str, Any]] = {}
    for code, model in {status: result, **(also or {})}.items():
        answers[code] = _success(model, media_type, headers)
    for code in sorted(statuses):
        answers[code] = _failure(code)
    extra: dict[str, Any] = {"security": _SECURITY[guard]}
    if body is not None:
        content = {body_media_type: {"schema": _schema(body)}}
        extra["requestBody"] = {"required": body_required, "content": content}
    if request_headers:
        extra["parameters"] = [
            {"name": name, "in": "header", "required": False, "description": text, "schema": {"type": "string"}}
            for name, text in request_headers.items()
        ]
    response_class = Response if result is None else JSONResponse
    return {"status_code": status, "responses": answers, "openapi_extra": extra, "response_class": response_class}


def install(app: FastAPI, *, description: str) -> None:
    """Have `app` publish its document at /v2/openapi.json."""

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, description)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to replace it

    @app.get("/v2/openapi.json", include_in_schema=False)
    async def published() -> JSONResponse:
        return JSONResponse(app.openapi())


def _document(app: FastAPI, description: str) -> dict[str, Any]:
    document = get_openapi(title="Workflow controller", version=API_VERSION, description=description, routes=app.routes)
    components: dict[str, Any] = document.setdefault("components", {})
    schemas: dict[str, Any] = components.setdefault("schemas", {})
    components["securitySchemes"] = _SCHEMES
    _hoist(document["paths"], schemas)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    for operation in _operations(document):
        responses = operation["responses"]
        if "HTTPValidationError" in str(responses.get("422")):
            del responses["422"]
        for answer in responses.values():
            answer.setdefault("headers", {}).update(_version_headers())
    document["components"]["schemas"] = dict(sorted(schemas.items()))
    return document


def _operations(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [operation for path in document["paths"].values() for operation in path.values()]


def _hoist(node: Any, schemas: dict[str, Any]) -> None:
    """Move the definitions that schemas brought with them to the components."""
    if isinstance(node, list):
        for item in node:
            _hoist(item, schemas)
    elif isinstance(node, dict):
        definitions = node.pop("$defs", {})
        schemas.update(definitions)
        for item in (*definitions.values(), *node.values()):
            _hoist(item, schemas)


def _success(model: Any, media_type: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": "Done."}
    if model is not None:
        answer["content"] = {media_type: {"schema": _schema(model)}}
    if headers:
        answer["headers"] = {
            name: {"description": text, "schema": {"type": "string"}} for name, text in headers.items()
        }
    return answer


def _failure(status: int) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": _TEXTS[status]}
    if status not in _EMPTY_ERRORS:
        schema = _schema(_ERRORS.get(status, documents.Detail))
        answer["content"] = {
            "application/json": {"schema": schema},
            MEDIA_TYPE: {"schema": _schema(documents.Problem)},
        }
    return answer


def _schema(model: Any) -> dict[str, Any]:
    return TypeAdapter(model).json_schema(ref_template=_REFERENCE, mode="serialization")


def _version_headers() -> dict[str, Any]:
    names = [name for name in STANDARD_HEADERS if name.startswith("DRYCC_")]
    return {name: {"schema": {"type": "string"}} for name in names}
