"""What the operator sets for every app: reserved names, node labels, a quota. Parsed from the texts of the environment.

All raise UnusableSettingError, with one line that says what is wrong.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Final

from controller.domain.names import tag_key_problem, tag_value_problem

_QUANTITY: Final = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+|[numkMGTPE]|[KMGTPE]i)?")
_RESOURCE: Final = re.compile(r"[a-z0-9]([-a-zA-Z0-9._/]*[a-zA-Z0-9])?")
_PARTS: Final = frozenset({"hard", "scopes", "scopeSelector"})


class UnusableSettingError(ValueError):
    """A setting is not what it must be."""


def parse_names(raw: object) -> list[str]:
    """App names between commas, blanks removed (controller-api.md 4.1); a JSON list of texts means the same."""
    if isinstance(raw, str):
        text = "".join(raw.split())
        raw = json.loads(raw) if text.startswith("[") else [name for name in text.split(",") if name]
    if not isinstance(raw, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in raw):
        raise UnusableSettingError("must be names with commas between them, e.g. drycc,drycc-builder")
    return list(raw)


def parse_tags(raw: object) -> dict[str, str]:
    """Node labels that the processes of every app need, as a JSON object of texts."""
    tags = _object(raw, example='{"role": "worker"}')
    for label, value in tags.items():
        if not isinstance(value, str):
            raise UnusableSettingError(f"the value of {label} must be a text")
        if (problem := tag_key_problem(label) or tag_value_problem(value)) is not None:
            raise UnusableSettingError(f"{label}={value}: {problem}")
    return {label: str(value) for label, value in tags.items()}


def parse_quota(raw: object) -> dict[str, object] | None:
    """The spec of a ResourceQuota for each app; also where it stands below `spec`, as a whole object has it."""
    quota = _object(raw, example='{"hard": {"pods": "10"}}')
    if not quota:
        return None
    spec = quota.get("spec", quota)
    if not isinstance(spec, Mapping) or not isinstance(hard := spec.get("hard"), Mapping) or not hard:
        raise UnusableSettingError('must have limits below `hard`, e.g. {"hard": {"pods": "10"}}')
    if unknown := sorted(set(spec) - _PARTS):
        raise UnusableSettingError(
            f"{', '.join(unknown)}: a quota has no such part; it has {', '.join(sorted(_PARTS))}"
        )
    limits = {str(name): _quantity(str(name), amount) for name, amount in hard.items()}
    return {**spec, "hard": limits}


def _object(raw: object, *, example: str) -> Mapping[str, object]:
    if isinstance(raw, str):
        try:
            raw = json.loads(raw) if raw.strip() else {}
        except ValueError as error:
            raise UnusableSettingError(f"must be JSON, e.g. {example} ({error})") from None
    if raw is None:
        return {}
    if not isinstance(raw, Mapping):
        raise UnusableSettingError(f"must be a JSON object, e.g. {example}")
    return raw


def _quantity(name: str, amount: object) -> str:
    text = str(amount)
    if not _RESOURCE.fullmatch(name):
        raise UnusableSettingError(f"{name!r} is not the name of a resource")
    if isinstance(amount, bool) or not isinstance(amount, str | int | float) or not _QUANTITY.fullmatch(text):
        raise UnusableSettingError(f"{text!r} is not an amount of {name}; write e.g. 10, 500m or 4Gi")
    return text
