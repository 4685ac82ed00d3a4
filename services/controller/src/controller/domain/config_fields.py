"""The fields of a config that are keyed by process type: what may be written into each, and how it merges (4.8).

A checker takes one process type's entry and returns its normal form, or raises `FieldProblem` with the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.domain.errors import MissingKeyError
from controller.domain.names import key_problem, ptype_problem, tag_key_problem, tag_value_problem
from controller.domain.plans import Catalog
from controller.domain.schemas import PROBE, JsonPath, schema_problem
from controller.domain.shown import brief, wrong_type

PROBES: Final = ("livenessProbe", "readinessProbe", "startupProbe")
_PROBES_MESSAGE: Final = f"Healthcheck pattern: ^({'|'.join(PROBES)})$"

Entry = Any
Checker = Callable[[object], Entry]


class FieldProblem(Exception):  # noqa: N818 - a message on its way to its field, not a condition of its own
    """What is wrong with one field of a config."""


def parse_field(name: str, raw: object, catalog: Catalog) -> dict[str, Entry]:
    """Process type -> entry (None: remove) of the field `name`; `catalog` has the plans that there are.

    Raises:
        FieldProblem: what is wrong.
    """
    if not isinstance(raw, Mapping):
        shown = type(raw).__name__
        raise FieldProblem(f"Expected a dictionary, but got {shown}.")
    entries = {}
    for ptype, entry in raw.items():
        if (problem := ptype_problem(ptype)) is not None:
            raise FieldProblem(problem)
        entries[ptype] = None if entry is None else CHECKERS[name](entry)
        if name == "limits" and entry is not None and not catalog.offers(entries[ptype]):
            raise FieldProblem(f"The limit plan {brief(str(entry))} does not exist")
    return entries


def merge_entries(name: str, base: Mapping[str, Entry], changes: Mapping[str, Entry]) -> dict[str, Entry]:
    """`base` with the changes.

    Raises:
        MissingKeyError: something is to be removed that is not there.
    """
    merged = dict(base)
    for ptype, entry in changes.items():
        if entry is None or (entry == {} and name == "tags"):
            if ptype not in merged:
                raise MissingKeyError(ptype, name)
            del merged[ptype]
        elif isinstance(entry, Mapping):
            merged[ptype] = _merge_keys(name, merged.get(ptype, {}), entry)
        else:
            merged[ptype] = entry
    return merged


def _merge_keys(name: str, base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        if value is not None:
            merged[key] = value
        elif key in merged:
            del merged[key]
        else:
            raise MissingKeyError(key, name)
    return merged


def no_machine_message(tags: Mapping[str, str], before: Mapping[str, str]) -> str:
    """What is said when no machine has all `tags`, which were `before` (4.8)."""
    message = f"No nodes matched the provided labels: {_labels(tags)}"
    added = {key: value for key, value in tags.items() if before.get(key) != value}
    return f"{message} - Addition of {_labels(added)} is the cause" if before else message


def _labels(tags: Mapping[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in tags.items())


def _check_limit(entry: object) -> str:
    if not isinstance(entry, str):
        raise FieldProblem(f"The limit plan {brief(str(entry))} does not exist")
    return entry


def _check_grace_period(entry: object) -> str:
    text = "" if isinstance(entry, bool) else str(entry)
    if not (text.isascii() and text.isdigit() and len(text) < 8):
        raise FieldProblem(f"Termination Grace Period format: {brief(str(entry))}, where value must be a numeric")
    return text


def _check_tags(entry: object) -> dict[str, str | None]:
    tags = _object(entry)
    for key, value in tags.items():
        problem = tag_key_problem(key) or (None if value is None else tag_value_problem(value))
        if problem is not None:
            raise FieldProblem(problem)
    return tags


def _check_registry(entry: object) -> dict[str, str | None]:
    credentials = _object(entry)
    if (problem := next(filter(None, map(key_problem, credentials)), None)) is not None:
        raise FieldProblem(problem)
    return credentials


def _check_healthcheck(entry: object) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise FieldProblem(wrong_type(repr(entry), "object"))
    for probe, spec in entry.items():
        if probe not in PROBES:
            raise FieldProblem(_PROBES_MESSAGE)
        if spec is not None and (problem := schema_problem(spec, PROBE, strict=True, hides=_is_header)) is not None:
            raise FieldProblem(problem)
    return dict(entry)


def _is_header(path: JsonPath) -> bool:
    return "httpHeaders" in path


def _object(entry: object) -> dict[str, str | None]:
    """An object of scalars, each as text."""
    if not isinstance(entry, Mapping):
        raise FieldProblem(f"Expected a dictionary, but got {type(entry).__name__}.")
    if any(isinstance(value, Mapping | list) for value in entry.values()):
        raise FieldProblem("Expected texts as values, but got something nested.")
    return {str(key): None if value is None else str(value) for key, value in entry.items()}


def _check_lifecycle(entry: object) -> dict[str, Any]:
    if not isinstance(entry, Mapping):
        raise FieldProblem(f"Expected a dictionary, but got {type(entry).__name__}.")
    return {str(key): _as_text(value) for key, value in entry.items()}


def _as_text(value: object) -> object:
    return value if value is None or isinstance(value, Mapping | list) else str(value)


CHECKERS: Final[Mapping[str, Checker]] = {
    "lifecycle_post_start": _check_lifecycle,
    "lifecycle_pre_stop": _check_lifecycle,
    "tags": _check_tags,
    "limits": _check_limit,
    "healthcheck": _check_healthcheck,
    "termination_grace_period": _check_grace_period,
    "registry": _check_registry,
}
"""In the order in which a release's summary names them (4.4), but for `values_refs` and `values`."""
