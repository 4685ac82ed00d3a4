"""Puts the OpenAPI document together from the routes: shared parts become components, names become short and stable."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final

from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.convertors import CONVERTOR_TYPES
from starlette.routing import BaseRoute, WebSocketRoute

from controller.api.idempotency import IdempotentRoute
from controller.api.openapi_components import IDEMPOTENCY_KEY, components, error, version_headers
from controller.api.openapi_guide import HIDDEN, PLACEHOLDERS, guide
from controller.api.transport import API_VERSION

_PLACEHOLDER: Final = re.compile(r"{(?P<name>\w+)(?::(?P<kind>\w+))?}")


def assemble(routes: Sequence[BaseRoute]) -> dict[str, Any]:
    """The document of these routes.

    Raises:
        ValueError: two endpoints, or two types, have the same name.
    """
    contexts = list(iter_route_contexts(routes))
    streams = [str(each.path_format) for each in contexts if _is_stream(each)]
    document = get_openapi(title="Workflow controller", version=API_VERSION, description=guide(streams), routes=routes)
    endpoints = list(_endpoints(contexts))
    for context, operation in _operations(endpoints, document):
        _finish(context, operation)
    _name(endpoints, document)
    # By path, so that the order in which routes are looked for changes nothing here.
    document["paths"] = dict(sorted(_public(path, item) for path, item in document["paths"].items()))
    document["components"] = components(document["paths"])
    document["tags"] = _tags(endpoints)
    return document


def _is_stream(context: RouteContext) -> bool:
    return isinstance(context.original_route, WebSocketRoute)


def _endpoints(contexts: Sequence[RouteContext]) -> Iterator[RouteContext]:
    for context in contexts:
        if isinstance(context.original_route, APIRoute) and context.include_in_schema:
            yield context


def _operations(
    endpoints: Sequence[RouteContext], document: Mapping[str, Any]
) -> Iterator[tuple[RouteContext, dict[str, Any]]]:
    for context in endpoints:
        for method in sorted(context.methods or ()):
            yield context, document["paths"][context.path_format][method.lower()]


def _finish(context: RouteContext, operation: dict[str, Any]) -> None:
    """Say of one operation what all have in common."""
    text = " ".join((inspect.getdoc(context.endpoint) or "").split())
    operation["summary"] = text.partition(". ")[0].removesuffix(".")
    if operation["summary"] == text.removesuffix("."):
        operation.pop("description", None)
    else:
        operation["description"] = text
    operation["tags"] = [_tag(context)]
    placeholders = {found["name"]: found["kind"] or "str" for found in _PLACEHOLDER.finditer(str(context.path))}
    for parameter in operation.get("parameters", ()):
        if parameter["in"] == "path":
            parameter.update(_placeholder(parameter["name"], placeholders[parameter["name"]]))
        else:
            parameter["schema"] = _plain(parameter["schema"])
    of_path = (404,) if placeholders else ()
    is_idempotent = isinstance(context.original_route, IdempotentRoute) and "POST" in (context.methods or ())
    of_key = (400, 409, 422) if is_idempotent else ()
    if is_idempotent:
        operation.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    operation["responses"] = _finished(operation["responses"], errors=(*of_path, *of_key))


def _plain(schema: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of a parameter without what FastAPI repeats in it; what is left out is no null."""
    kept = {key: value for key, value in schema.items() if key not in ("title", "description")}
    kinds = [kind for kind in kept.pop("anyOf", ()) if kind != {"type": "null"}]
    return {**kept, **kinds[0]} if len(kinds) == 1 else {**kept, **({"anyOf": kinds} if kinds else {})}


def _placeholder(name: str, kind: str) -> dict[str, Any]:
    text = PLACEHOLDERS.get(name) or PLACEHOLDERS.get(kind)
    described = {"description": text} if text else {}
    return {**described, "schema": {"type": "string", "pattern": f"^{CONVERTOR_TYPES[kind].regex}$"}}


def _finished(responses: Mapping[str, Any], *, errors: Collection[int]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    for status, answer in responses.items():
        if "$ref" in answer:
            answers[status] = {"$ref": answer["$ref"]}
        elif "HTTPValidationError" not in str(answer):  # FastAPI's own, which nobody sees
            answers[status] = {**answer, "headers": {**answer.get("headers", {}), **version_headers()}}
    for code in errors:
        answers.setdefault(str(code), error(code))
    return dict(sorted(answers.items()))


def _public(path: str, item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The path as clients use it, and its operations."""
    if path not in HIDDEN:
        return path, item
    name, pattern, text = HIDDEN[path]
    parameter = {"name": name, "in": "path", "required": True, "description": text}
    for operation in item.values():
        operation["parameters"] = [
            {**parameter, "schema": {"type": "string", "pattern": pattern}},
            *operation.get("parameters", ()),
        ]
    return f"{path}/{{{name}}}", item


def _name(endpoints: Sequence[RouteContext], document: Mapping[str, Any]) -> None:
    """Name every operation after its function, or as its decorator says (`operation_id`)."""
    owners: dict[str, str] = {}
    for context, operation in _operations(endpoints, document):
        name = context.operation_id or str(context.name)
        owner = f"{_module(context).__name__}.{context.name}"
        if name in owners:
            raise ValueError(f"{owners[name]} and {owner} are both called {name}: give one of them an operation_id")
        owners[name] = owner
        operation["operationId"] = name


def _tag(context: RouteContext) -> str:
    return _module(context).__name__.rpartition(".")[2]


def _tags(endpoints: Sequence[RouteContext]) -> list[dict[str, str]]:
    """One for each module that has endpoints, with what the module says of itself."""
    modules = {_tag(context): _module(context) for context in endpoints}
    return [{"name": name, "description": inspect.getdoc(modules[name]) or ""} for name in sorted(modules)]


def _module(context: RouteContext) -> ModuleType:
    return sys.modules[context.endpoint.__module__]
