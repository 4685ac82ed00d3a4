"""How a request changes an app's settings (4.17, 4.18)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from controller.domain.apps import AppSettings
from controller.domain.errors import InvalidFieldsError, MissingKeyError
from controller.domain.fields import FieldChecker
from controller.domain.names import RUN, ptype_problem
from controller.domain.schemas import AUTOSCALE, schema_problem
from shared.errors import InvalidInputError

FLAGS = ("routable", "autodeploy", "autorollback")
MOST_LABEL_CHARACTERS: Final = 256 * 1024
"""All labels of an app as JSON; as much as Kubernetes takes of annotations."""


def merge_settings(before: AppSettings, patch: Mapping[str, object], *, most: int) -> dict[str, Any]:
    """The facts of the next version. What is absent or null stays; unknown keys are ignored. `most` is the number of
    processes that a type may have.

    Raises:
        InvalidFieldsError: a field is malformed, or asks for too much.
        InvalidInputError: a reserved process type is to be scaled.
        MissingKeyError: something is to be removed that is not there.
    """
    check = FieldChecker(patch)
    facts: dict[str, Any] = {}
    for name in FLAGS:
        sent = check.flag(name)
        facts[name] = getattr(before, name) if sent is None else sent
    autoscale = check.mapping("autoscale", partial(_autoscale_problem, most=most), null=True)
    label = check.mapping("label", lambda _: None, null=True)
    check.finish()
    if autoscale.get(RUN) is not None:
        raise InvalidInputError(f"Cannot set autoscale for reserved types, procfile type is: {RUN}")
    facts["autoscale"] = _merged("autoscale", before.autoscale, autoscale)
    facts["label"] = _merged("label", before.label, label)
    if len(json.dumps(facts["label"], ensure_ascii=False)) > MOST_LABEL_CHARACTERS:
        problem = f"Ensure all labels together have no more than {MOST_LABEL_CHARACTERS} characters of JSON."
        raise InvalidFieldsError.of("label", problem)
    return facts


def changed_names(before: AppSettings, facts: Mapping[str, object]) -> list[str]:
    """Which of these facts differ from those that count now, as JSON: for Python 1 and true are the same."""
    return [name for name, value in facts.items() if _json(getattr(before, name)) != _json(value)]


def wants_autoscale(patch: Mapping[str, object]) -> bool:
    """Whether a checked request sets a rule; it may also take some away."""
    entries = patch.get("autoscale")
    return isinstance(entries, Mapping) and any(entry is not None for entry in entries.values())


def _autoscale_problem(entries: Mapping[str, object], *, most: int) -> str | None:
    for ptype, entry in entries.items():
        problem = ptype_problem(ptype) or (None if entry is None else _rule_problem(ptype, entry, most))
        if problem is not None:
            return problem
    return None


def _rule_problem(ptype: str, entry: object, most: int) -> str | None:
    problem = schema_problem(entry, AUTOSCALE, strict=True)
    if problem is None and isinstance(entry, Mapping) and (count := max(entry["min"], entry["max"])) > most:
        return f"{ptype}: {count} is more than the {most} processes that a type may have here"
    return problem


def _json(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _merged(name: str, before: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    merged = dict(before)
    for key, value in changes.items():
        if value is not None:
            merged[key] = value
        elif key in merged:
            del merged[key]
        else:
            raise MissingKeyError(key, name)
    return merged
