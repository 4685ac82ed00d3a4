"""How a request changes an app's settings (4.17, 4.18)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from controller.domain.apps import AppSettings
from controller.domain.errors import MissingKeyError
from controller.domain.fields import FieldChecker
from controller.domain.names import RUN, ptype_problem
from controller.domain.schemas import AUTOSCALE, schema_problem
from shared.errors import InvalidInputError

FLAGS = ("routable", "autodeploy", "autorollback")


def merge_settings(before: AppSettings, patch: Mapping[str, object]) -> dict[str, Any]:
    """The facts of the next version. What is absent or null stays; unknown keys are ignored.

    Raises:
        InvalidFieldsError: a field is malformed.
        InvalidInputError: a reserved process type is to be scaled.
        MissingKeyError: something is to be removed that is not there.
    """
    check = FieldChecker(patch)
    facts: dict[str, Any] = {}
    for name in FLAGS:
        sent = check.flag(name)
        facts[name] = getattr(before, name) if sent is None else sent
    autoscale = check.mapping("autoscale", _autoscale_problem, null=True)
    label = check.mapping("label", lambda _: None, null=True)
    check.finish()
    if autoscale.get(RUN) is not None:
        raise InvalidInputError(f"Cannot set autoscale for reserved types, procfile type is: {RUN}")
    facts["autoscale"] = _merged("autoscale", before.autoscale, autoscale)
    facts["label"] = _merged("label", before.label, label)
    return facts


def _autoscale_problem(entries: Mapping[str, object]) -> str | None:
    for ptype, entry in entries.items():
        problem = ptype_problem(ptype) or (None if entry is None else schema_problem(entry, AUTOSCALE, strict=True))
        if problem is not None:
            return problem
    return None


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
