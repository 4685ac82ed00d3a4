"""What is repeated of a request, in its answer and so in logs and events, is short whatever was sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from controller.domain.builds import check_build
from controller.domain.config_fields import FieldProblem, parse_field
from controller.domain.config_values import parse_values
from controller.domain.configs import parse_refs
from controller.domain.errors import MissingKeyError
from controller.domain.fields import FieldChecker
from controller.domain.plans_file import shipped_catalog
from controller.domain.shown import MOST_SHOWN, brief
from shared.errors import InvalidInputError

LONG = "x" * 100_000
MOST_MESSAGE = 3 * MOST_SHOWN + 100
CATALOG = shipped_catalog()


def build(**facts: Any) -> None:
    check_build({"image": "a/b", "stack": "container", **facts})


def pipeline(**facts: Any) -> dict[str, Any]:
    return {"web": {"kind": "pipeline", "ptype": "web", "deploy": {}, **facts}}


@pytest.mark.parametrize(
    "check",
    [
        lambda: build(dryccfile={"pipeline": pipeline(deploy={"image": LONG, "other": 1})}),
        lambda: build(dryccfile={"pipeline": pipeline(run={"timeout": LONG})}),
        lambda: build(dryccfile={"pipeline": {LONG: 1}}),
        lambda: build(dryccfile={"pipeline": {}, **{f"extra-{number}": 1 for number in range(5000)}}),
        lambda: build(procfile={"web": [LONG]}),
        lambda: build(procfile=LONG),
        lambda: parse_field("healthcheck", {"web": LONG}, CATALOG),
        lambda: parse_field("healthcheck", {"web": {"livenessProbe": {"httpGet": {"path": LONG}}}}, CATALOG),
        lambda: parse_field("limits", {"web": LONG}, CATALOG),
        lambda: parse_field("termination_grace_period", {"web": LONG}, CATALOG),
        lambda: parse_refs({"web": LONG}),
    ],
)
def test_messages_are_short(check: Callable[[], object]) -> None:
    with pytest.raises((InvalidInputError, FieldProblem)) as caught:
        check()
    assert len(str(caught.value)) < MOST_MESSAGE


def test_values_and_keys_too() -> None:
    for raw in ([{"name": LONG, "value": 1}], {LONG: 1}, [{"name": "A", "value": "1", LONG: 1}] * 50):
        _, problem = parse_values(raw)
        assert problem is not None
        assert len(problem) < MOST_MESSAGE
    assert len(MissingKeyError(LONG, "label").detail) < MOST_MESSAGE
    checker = FieldChecker({"label": LONG})
    checker.mapping("label", lambda _value: None)
    with pytest.raises(InvalidInputError) as caught:
        checker.finish()
    assert len(caught.value.detail) < MOST_MESSAGE


def test_the_beginning_and_the_end_stay() -> None:
    assert brief("short") == "short"
    assert brief("a" * MOST_SHOWN) == "a" * MOST_SHOWN
    cut = brief("begin" + LONG + "is why")
    assert len(cut) == MOST_SHOWN
    assert cut.startswith("beginxxx")
    assert cut.endswith("xis why")


@pytest.mark.parametrize(("count", "is_fine"), [(100, True), (101, False)])
def test_process_types_have_a_limit(count: int, is_fine: bool) -> None:
    names = [f"type{number}" for number in range(count)]
    pipelines = {name: {"kind": "pipeline", "ptype": name, "deploy": {}} for name in names}
    for facts in ({"procfile": dict.fromkeys(names, "run")}, {"dryccfile": {"pipeline": pipelines}}):
        if is_fine:
            build(**facts)
            continue
        with pytest.raises(InvalidInputError, match=r"^101 process types are more than the 100") as caught:
            build(**facts)
        assert "\n" not in caught.value.detail
