"""Laws of what a release says about itself (controller-api.md 4.4)."""

from __future__ import annotations

import re
from typing import Any

from hypothesis import given

from controller.domain.releases import ConfigData
from controller.domain.summaries import config_summary
from support.controller_strategies import ENTRIES, configs, laws

VERBS = ("added", "changed", "deleted")
# The order of 4.4, then `values`.
ORDER = (
    "lifecycle_post_start", "lifecycle_pre_stop", "tags", "limits", "values_refs", "healthcheck",
    "termination_grace_period", "registry", "values",
)  # fmt: skip
Difference = dict[tuple[str, str], list[str]]


def entries(config: ConfigData, field: str) -> dict[Any, Any]:
    """What counts of a field: entries that are not empty; variables by their key."""
    if field == "values":
        return {value.key: value.value for value in config.values}
    return {ptype: entry for ptype, entry in getattr(config, field).items() if entry not in ({}, ())}


def difference(before: ConfigData, after: ConfigData) -> Difference:
    """(field, verb) -> the names, sorted; a variable by its name alone."""
    found: Difference = {}
    for field in ORDER:
        old, new = entries(before, field), entries(after, field)
        kinds = (set(new) - set(old), {key for key in set(old) & set(new) if old[key] != new[key]}, set(old) - set(new))
        for verb, keys in zip(VERBS, kinds, strict=True):
            names = {key[0] if field == "values" else key for key in keys}
            if names:
                found[field, verb] = sorted(names)
    return found


def read(summary: str) -> Difference:
    """A summary, taken apart again."""
    found: Difference = {}
    current: list[str] = []
    for part in summary.split(", "):
        head = re.fullmatch(rf"(?:ana )?({'|'.join(VERBS)}) (\w+) (\S+)", part)
        if head is None:
            current.append(part)
        else:
            current = found.setdefault((head[2], head[1]), [])
            current.append(head[3])
    return found


def test_the_order_names_every_field() -> None:
    assert set(ORDER) == {*ENTRIES, "values_refs", "values"}


@laws
@given(configs, configs)
def test_a_summary_names_all_that_differs_in_order(before: ConfigData, after: ConfigData) -> None:
    expected = difference(before, after)
    summary = config_summary("ana", before, after)
    if not expected:
        assert summary is None
        return
    assert summary is not None
    assert read(summary) == expected
    assert list(read(summary)) == list(expected)
    assert summary.count("ana ") == len({field for field, _ in expected})


@laws
@given(configs, configs)
def test_the_way_back_deletes_what_was_added(before: ConfigData, after: ConfigData) -> None:
    forth, back = (read(config_summary("ana", *pair) or "") for pair in ((before, after), (after, before)))
    opposite = {"added": "deleted", "changed": "changed", "deleted": "added"}
    assert {(field, opposite[verb]): names for (field, verb), names in forth.items()} == back


@laws
@given(configs)
def test_nothing_changed_is_no_summary(config: ConfigData) -> None:
    assert config_summary("ana", config, config) is None
