"""What a release says about itself: a comparison with the release that it was made from (4.4)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

from controller.domain.config_fields import CHECKERS
from controller.domain.releases import Build, ConfigData

K = TypeVar("K", bound=Hashable)

_VERBS = ("added", "changed", "deleted")


def initial_summary(owner: str) -> str:
    """The summary of version 1."""
    return f"{owner} created initial release"


def build_summary(owner: str, build: Build) -> str:
    """The summary of a release with a new build."""
    return f"{owner} deployed {build.sha[:7] or build.image}"


def rollback_summary(owner: str, version: int) -> str:
    """The summary of a release that repeats an older one."""
    return f"{owner} rolled back to v{version}"


def config_summary(owner: str, base: ConfigData, changed: ConfigData) -> str | None:
    """What differs between two configs, in the contract's order of fields; None when nothing does."""
    sentences = []
    for name in _FIELD_ORDER:
        before, after = getattr(base, name), getattr(changed, name)
        sentences.append(_sentence(owner, name, _differences(_filled(before), _filled(after))))
    before_values = {value.key: value.value for value in base.values}
    after_values = {value.key: value.value for value in changed.values}
    kinds = _differences(before_values, after_values)
    sentences.append(_sentence(owner, "values", [sorted({key[0] for key in keys}) for keys in kinds]))
    return ", ".join(filter(None, sentences)) or None


_FIELD_ORDER = (
    *[name for name in CHECKERS if name not in ("healthcheck", "termination_grace_period", "registry")],
    "values_refs",
    "healthcheck",
    "termination_grace_period",
    "registry",
)


def _filled(entries: Mapping[str, object]) -> dict[str, object]:
    # An entry that was emptied means the same as none.
    return {ptype: entry for ptype, entry in entries.items() if entry not in ({}, ())}


def _differences(before: Mapping[K, object], after: Mapping[K, object]) -> list[list[K]]:
    return [
        [key for key in after if key not in before],
        [key for key in after if key in before and after[key] != before[key]],
        [key for key in before if key not in after],
    ]


def _sentence(owner: str, field: str, kinds: list[list[str]]) -> str:
    named = zip(_VERBS, kinds, strict=True)
    parts = [f"{verb} {field} {', '.join(sorted(names))}" for verb, names in named if names]
    return f"{owner} {', '.join(parts)}" if parts else ""
