"""Reads a catalogue of limit plans: a JSON file `{"specs": [...], "plans": [...]}`, the operator's or the shipped one.

The shipped one, `limits.json`, is the reference's: spec `std1` with 28 plans (controller-api.md 4.30).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from controller.domain.plans import Catalog, LimitPlan, LimitSpec, NoPlanError

_ID: Final = {"type": "string", "pattern": r"^[-._a-zA-Z0-9]{1,63}\Z"}
_TEXT: Final = {"type": "string"}
_OBJECT: Final = {"type": "object"}
_TEXTS: Final = {"type": "object", "additionalProperties": _TEXT}
_PRIORITY: Final = {"type": "integer"}
_FLAG: Final = {"type": "boolean"}
_COUNT: Final = {"type": "integer", "minimum": 0}
_SIZE: Final = {"type": "integer", "minimum": 1, "maximum": 32767}
_MEMORY: Final = {"type": "object", "properties": {"size": _TEXT, "type": _TEXT}}
_GPU: Final = {
    "type": ["object", "null"],
    "properties": {"name": _TEXT, "tmus": _COUNT, "rops": _COUNT, "cores": _COUNT, "memory": _MEMORY},
}
_SPEC: Final = {
    "type": "object",
    "required": ["id", "cpu", "memory", "keywords"],
    "properties": {
        "id": _ID,
        "cpu": {
            "type": "object",
            "properties": {"name": _TEXT, "cores": _COUNT, "clock": _TEXT, "boost": _TEXT, "threads": _COUNT},
        },
        "memory": _MEMORY,
        "features": {"type": "object", "properties": {"gpu": _GPU, "network": _TEXT}},
        "keywords": {"type": "array", "minItems": 1, "items": _TEXT},
        "disabled": _FLAG,
        "priority": _PRIORITY,
    },
    "additionalProperties": False,
}
_PLAN: Final = {
    "type": "object",
    "required": ["id", "spec"],
    "properties": {
        "id": _ID,
        "spec": _TEXT,
        "cpu": _SIZE,
        "memory": _SIZE,
        "features": {"type": "object", "properties": {"gpu": {"type": ["integer", "null"]}, "network": _COUNT}},
        "disabled": _FLAG,
        "priority": _PRIORITY,
        "limits": _TEXTS,
        "requests": _TEXTS,
        "annotations": _TEXTS,
        "node_selector": _TEXTS,
        "pod_security_context": _OBJECT,
        "container_security_context": _OBJECT,
        "runtime_class_name": _TEXT,
    },
    "additionalProperties": False,
}
_FILE: Final = {
    "type": "object",
    "required": ["specs", "plans"],
    "properties": {"specs": {"type": "array", "items": _SPEC}, "plans": {"type": "array", "items": _PLAN}},
    "additionalProperties": False,
}

# What clients read without looking whether it is there (cli.md 10.11).
_CPU: Final = {"name": "", "cores": 0, "clock": "", "boost": "", "threads": 0}
_NO_MEMORY: Final = {"size": "0GB", "type": ""}
_NO_GPU: Final = {"name": "none", "tmus": 0, "rops": 0, "cores": 0, "memory": _NO_MEMORY}
_NO_FEATURES: Final = {"gpu": _NO_GPU, "network": ""}
_NO_PLAN_FEATURES: Final = {"gpu": 0, "network": 0}


class CatalogError(ValueError):
    """The file is no catalogue; the text says in one line what is wrong where."""


@cache
def shipped_catalog() -> Catalog:
    """The catalogue that counts where the operator gives none."""
    return read_catalog(files("controller.domain") / "limits.json")


def read_catalog(file: Traversable) -> Catalog:
    """The catalogue in a file.

    Raises:
        CatalogError: it cannot be read or is none.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise CatalogError(f"cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise CatalogError(f"is no JSON: {error}") from None
    return parse_catalog(document)


def parse_catalog(document: object) -> Catalog:
    """The catalogue in a JSON document.

    Raises:
        CatalogError: it is none.
    """
    error = best_match(Draft202012Validator(_FILE).iter_errors(document))
    if error is not None:
        where = re.sub(r"^\$\.?", "", error.json_path)
        raise CatalogError(f"{where}: {error.message}" if where else error.message)
    assert isinstance(document, dict)  # noqa: S101  the schema says so
    specs = {item["id"]: _spec(item) for item in _unique("specs", document["specs"])}
    plans = [_plan(item, specs) for item in _unique("plans", document["plans"])]
    try:
        return Catalog(specs.values(), plans)
    except NoPlanError as problem:
        raise CatalogError(str(problem)) from None


def _unique(name: str, items: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    seen: set[str] = set()
    for item in items:
        if item["id"] in seen:
            raise CatalogError(f"{name}: the id {item['id']} is there twice")
        seen.add(item["id"])
    return items


def _spec(item: Mapping[str, Any]) -> LimitSpec:
    given = dict(item)
    return LimitSpec(
        cpu=_filled(_CPU, given.pop("cpu")),
        memory=_filled(_NO_MEMORY, given.pop("memory")),
        features=_filled(_NO_FEATURES, given.pop("features", {})),
        keywords=frozenset(word.lower() for word in given.pop("keywords")),
        **given,
    )


def _plan(item: Mapping[str, Any], specs: Mapping[str, LimitSpec]) -> LimitPlan:
    given = {"cpu": 1, "memory": 1, **item}
    spec = specs.get(given.pop("spec"))
    if spec is None:
        raise CatalogError(f"plans: the spec {item['spec']} of {item['id']} is not among the specs")
    features = _filled(_NO_PLAN_FEATURES, given.pop("features", {}))
    return LimitPlan(spec=spec, features=features, **given)


def _filled(shape: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """`given` with what `shape` has besides; null counts as absent."""
    filled = {**shape, **{key: value for key, value in given.items() if value is not None}}
    for key, default in shape.items():
        if isinstance(default, Mapping) and isinstance(given.get(key), Mapping):
            filled[key] = _filled(default, given[key])
    return filled
