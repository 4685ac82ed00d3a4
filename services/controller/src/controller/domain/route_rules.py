"""The JSON Schemas of routes' rules: what the Gateway API (v1.1, experimental channel) admits under `spec.rules`.

In our own words, after gateway-api.sigs.k8s.io/reference/spec and controller-api.md 4.22. Unknown keys are let through,
and rules between fields (the CEL rules of the API) are left to the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Final

from controller.domain.schemas import JsonPath, schema_problem

MOST_DEPTH: Final = 32
"""How deep rules may be nested; the Gateway API itself needs 8."""
MOST_CHARACTERS: Final = 256 * 1024
"""How long the rules of a route may be, as JSON; a cluster takes no objects of more than 1.5 MB."""

Schema = Mapping[str, Any]


def _object(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    return {"type": "object", "required": list(required), "properties": properties}


def _list(items: Schema, most: int, least: int = 0) -> Schema:
    return {"type": "array", "items": items, "minItems": least, "maxItems": most}


def _text(most: int, least: int = 0) -> Schema:
    return {"type": "string", "minLength": least, "maxLength": most}


def _one_of(*values: str | int) -> Schema:
    return {"enum": list(values)}


_NAME: Final = _text(253, 1)
_PORT: Final = {"type": "integer", "minimum": 1, "maximum": 65535}
# With \Z: Python's $ would let a line's end through.
_DURATION: Final = {"type": "string", "pattern": r"^([0-9]{1,5}(h|m|s|ms)){1,4}\Z"}
_HEADER_NAME: Final = {**_text(256, 1), "pattern": r"^[A-Za-z0-9!#$%&'*+\-.^_`|~]+\Z"}
_MATCH_TYPE: Final = _one_of("Exact", "RegularExpression")

_REFERENCE: Final[Mapping[str, Schema]] = {
    "group": _text(253),
    "kind": _text(63, 1),
    "name": _NAME,
    "namespace": _text(63, 1),
    "port": _PORT,
}
_WEIGHT: Final = {"type": "integer", "minimum": 0, "maximum": 1_000_000}
_BACKEND: Final = _object(("name",), **_REFERENCE, weight=_WEIGHT)

_HEADER: Final = _object(("name", "value"), name=_HEADER_NAME, value=_text(4096, 1))
_HEADER_CHANGES: Final = _object(add=_list(_HEADER, 16), set=_list(_HEADER, 16), remove=_list({"type": "string"}, 16))
_NEW_PATH: Final = _object(
    ("type",),
    type=_one_of("ReplaceFullPath", "ReplacePrefixMatch"),
    replaceFullPath=_text(1024),
    replacePrefixMatch=_text(1024),
)
_REDIRECT: Final = _object(
    scheme=_one_of("http", "https"),
    hostname=_NAME,
    path=_NEW_PATH,
    port=_PORT,
    statusCode=_one_of(301, 302),
)
_EXTENSION: Final = _object(("group", "kind", "name"), group=_text(253), kind=_text(63, 1), name=_NAME)
_COMMON_FILTERS: Final[Mapping[str, Schema]] = {
    "requestHeaderModifier": _HEADER_CHANGES,
    "responseHeaderModifier": _HEADER_CHANGES,
    "requestMirror": _object(("backendRef",), backendRef=_object(("name",), **_REFERENCE)),
    "extensionRef": _EXTENSION,
}
_COMMON_FILTER_TYPES: Final = ("RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef")
_HTTP_FILTERS: Final = _list(
    _object(
        ("type",),
        type=_one_of(*_COMMON_FILTER_TYPES, "RequestRedirect", "URLRewrite"),
        **_COMMON_FILTERS,
        requestRedirect=_REDIRECT,
        urlRewrite=_object(hostname=_NAME, path=_NEW_PATH),
    ),
    16,
)
_GRPC_FILTERS: Final = _list(_object(("type",), type=_one_of(*_COMMON_FILTER_TYPES), **_COMMON_FILTERS), 16)

_HEADER_MATCH: Final = _object(("name", "value"), type=_MATCH_TYPE, name=_HEADER_NAME, value=_text(4096, 1))
_HTTP_MATCH: Final = _object(
    path=_object(type=_one_of("Exact", "PathPrefix", "RegularExpression"), value=_text(1024)),
    headers=_list(_HEADER_MATCH, 16),
    queryParams=_list(_object(("name", "value"), type=_MATCH_TYPE, name=_HEADER_NAME, value=_text(1024, 1)), 16),
    method=_one_of("GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"),
)
_GRPC_MATCH: Final = _object(
    method=_object(type=_MATCH_TYPE, service=_text(1024), method=_text(1024)), headers=_list(_HEADER_MATCH, 16)
)
_SESSION: Final = _object(
    sessionName=_text(128),
    type=_one_of("Cookie", "Header"),
    absoluteTimeout=_DURATION,
    idleTimeout=_DURATION,
    cookieConfig=_object(lifetimeType=_one_of("Permanent", "Session")),
)


def _layer_4() -> Schema:
    return _list(_object(("backendRefs",), backendRefs=_list(_BACKEND, 16, 1)), 16, 1)


def _layer_7(match: Schema, filters: Schema, **more: Schema) -> Schema:
    backend = {**_BACKEND, "properties": {**_BACKEND["properties"], "filters": filters}}
    rule = _object(
        ("backendRefs",),
        backendRefs=_list(backend, 16),
        matches=_list(match, 8),
        filters=filters,
        sessionPersistence=_SESSION,
        **more,
    )
    return _list(rule, 16)


RULES: Final[Mapping[str, Schema]] = {
    "TCPRoute": _layer_4(),
    "UDPRoute": _layer_4(),
    "TLSRoute": _layer_4(),
    "HTTPRoute": _layer_7(_HTTP_MATCH, _HTTP_FILTERS, timeouts=_object(request=_DURATION, backendRequest=_DURATION)),
    "GRPCRoute": _layer_7(_GRPC_MATCH, _GRPC_FILTERS),
}
"""The schema of the rules of each kind of route."""

_ANY: Final = {"anyOf": list(RULES.values())}


def rules_problem(value: object, kind: str) -> str | None:
    """What keeps `value` from being the rules of a new route of that kind; None when nothing does."""
    return _size_problem(value) or schema_problem(value, RULES[kind], hides=_may_be_secret)


def new_rules_problem(value: object, kind: str) -> str | None:
    """The same for rules that take the place of a route's: what any kind admits will do (4.22)."""
    if (problem := _size_problem(value)) is not None:
        return problem
    problem = schema_problem(value, _ANY, hides=_may_be_secret)
    # Rules that no kind admits are best told by what is wrong for this one.
    if problem is not None and isinstance(value, list):
        return schema_problem(value, RULES[kind], hides=_may_be_secret)
    return problem


def _may_be_secret(path: JsonPath) -> bool:
    """Whether the value of a header or of a query's parameter stands there: `value` in an item of a list."""
    return any(key == "value" and isinstance(before, int) for before, key in pairwise(path))


def _size_problem(value: object) -> str | None:
    if _depth(value) > MOST_DEPTH:
        return f"could not validate the rules: they are nested deeper than {MOST_DEPTH} levels"
    if len(json.dumps(value)) > MOST_CHARACTERS:
        return f"could not validate the rules: they are longer than {MOST_CHARACTERS} characters"
    return None


def _depth(value: object) -> int:
    """How deep lists and objects are nested."""
    depth, level = 0, [value]
    while level := [item for node in level for item in _items(node)]:
        depth += 1
    return depth


def _items(node: object) -> list[object]:
    if isinstance(node, Mapping):
        return list(node.values())
    return node if isinstance(node, list) else []
