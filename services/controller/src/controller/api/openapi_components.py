"""What the OpenAPI document's operations share: schemas of types, answers, headers, parameters, ways to sign in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from controller.api import documents
from controller.api.idempotency import REPLAYED
from controller.api.openapi_guide import STATUSES
from controller.api.transport import STANDARD_HEADERS
from controller.domain.idempotency import HEADER
from shared.problem import MEDIA_TYPE

IDEMPOTENCY_KEY: Final = {"$ref": "#/components/parameters/IdempotencyKey"}
_REFERENCE: Final = "#/components/schemas/{model}"
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
_MODELS: Final[Mapping[int, Any]] = {
    304: None,
    400: documents.BadRequest,
    403: documents.Forbidden,
    404: documents.Missing,
    422: documents.Unprocessable,
    423: None,
}
"""What the body of an error is; `Detail` for those that are not named, None for an empty one."""
_HEADERS: Final[Mapping[int, Mapping[str, str]]] = {
    401: {"WWW-Authenticate": "The scheme to use."},
    429: {"Retry-After": "Seconds."},
}
_IDEMPOTENCY_KEY: Final = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": f"The same request under the same key is answered as the first time, with `{REPLAYED}: true`.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
}
_VERSIONS: Final = {name: value for name, value in STANDARD_HEADERS.items() if name.startswith("DRYCC_")}


class _Schemas(GenerateJsonSchema):
    """Without titles, which repeat names; `AppDocumentPage` for `Page[AppDocument]`."""

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False

    def dict_schema(self, schema: Any) -> dict[str, Any]:
        """Keys with a pattern: `patternProperties` alone would let all other keys through."""
        made = super().dict_schema(schema)
        for pattern, value in made.pop("patternProperties", {}).items():
            made |= {
                "additionalProperties": value,
                "propertyNames": {**made.get("propertyNames", {}), "pattern": pattern},
            }
        return made

    def normalize_name(self, name: str) -> str:
        return super().normalize_name(re.sub(r"^(\w+)\[(\w+)\]$", r"\2\1", name))


def schema_of(model: Any) -> dict[str, Any]:
    """The schema of a type: a reference and its definitions under `$defs`, or the schema itself of a simple type."""
    adapter: TypeAdapter[Any] = TypeAdapter(model)
    schemas, shared = TypeAdapter.json_schemas(
        [("model", "serialization", adapter)], ref_template=_REFERENCE, schema_generator=_Schemas
    )
    return {**schemas["model", "serialization"], **shared}


def error(status: int) -> dict[str, str]:
    """A reference to the answer that all endpoints give with that status."""
    return {"$ref": f"#/components/responses/{STATUSES[status][0]}"}


def components(paths: Mapping[str, Any]) -> dict[str, Any]:
    """All components of a document with these paths, from which it takes the definitions of schemas.

    Raises:
        ValueError: two types have the same name.
    """
    responses = {name: _shared_answer(status) for status, (name, _) in STATUSES.items()}
    schemas: dict[str, Any] = {}
    for node in (paths, responses):
        _hoist(node, schemas)
    return {
        "schemas": dict(sorted(schemas.items())),
        "responses": responses,
        "parameters": {"IdempotencyKey": _IDEMPOTENCY_KEY},
        "headers": {name: _header(f"Always {value} here.") for name, value in _VERSIONS.items()},
        "securitySchemes": _SCHEMES,
    }


def _shared_answer(status: int) -> dict[str, Any]:
    model = _MODELS.get(status, documents.Detail)
    headers = {name: _header(text) for name, text in _HEADERS.get(status, {}).items()}
    answer = {"description": STATUSES[status][1], "headers": {**headers, **version_headers()}}
    if model is None:
        return answer
    content = {"application/json": {"schema": schema_of(model)}, MEDIA_TYPE: {"schema": schema_of(documents.Problem)}}
    if status == 404:
        content["text/html"] = {"schema": {"type": "string"}}
    return {**answer, "content": content}


def _header(text: str) -> dict[str, Any]:
    return {"description": text, "schema": {"type": "string"}}


def version_headers() -> dict[str, Any]:
    """The headers that every answer has."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in _VERSIONS}


def _hoist(node: Any, schemas: dict[str, Any]) -> None:
    """Move the definitions that schemas brought with them to `schemas`."""
    if isinstance(node, list):
        for item in node:
            _hoist(item, schemas)
    elif isinstance(node, dict):
        for name, definition in node.pop("$defs", {}).items():
            definition.pop("title", None)
            if schemas.setdefault(name, definition) != definition:
                raise ValueError(f"two types are called {name}: give one of them another name")
        for item in node.values():
            _hoist(item, schemas)
