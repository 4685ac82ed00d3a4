"""Names of apps, process types, keys and labels."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.apps import NAME_MESSAGE, SLUG_MESSAGE, check_name, generate_name
from controller.domain.errors import InvalidFieldsError
from controller.domain.names import (
    KEY_MESSAGE,
    PTYPE_LENGTH_MESSAGE,
    PTYPE_MESSAGE,
    PTYPE_PATTERN,
    key_problem,
    ptype_problem,
    tag_key_problem,
    tag_value_problem,
)

RESERVED = frozenset(("drycc",))


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("", ["This field may not be blank."]),
        ("a" * 64, ["Ensure this field has no more than 63 characters."]),
        ("Foo", [NAME_MESSAGE]),
        ("a_b", [NAME_MESSAGE]),
        ("1abc", [NAME_MESSAGE]),
        ("abc-", [NAME_MESSAGE]),
        (5, [NAME_MESSAGE]),
        ("abc\n", [NAME_MESSAGE, SLUG_MESSAGE]),
        ("a b", [NAME_MESSAGE, SLUG_MESSAGE]),
        ("drycc", ["drycc is a reserved name."]),
    ],
)
def test_bad_app_names(name: object, messages: list[str]) -> None:
    with pytest.raises(InvalidFieldsError) as caught:
        check_name(name, reserved=RESERVED)
    assert caught.value.errors == {"id": messages}
    assert caught.value.field == "id"


@given(st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True))
def test_good_app_names(name: str) -> None:
    assert check_name(name, reserved=()) == name


def test_generated_names_are_good_names() -> None:
    names = {generate_name() for _ in range(50)}
    assert len(names) == 50
    assert all(re.fullmatch(r"[a-z]{6}-[a-z]{8}", name) for name in names)


@given(st.text(max_size=70))
def test_process_types_are_what_the_pattern_says(name: str) -> None:
    fits = re.fullmatch(PTYPE_PATTERN.removesuffix("$") + r"\Z", name) is not None
    problem = ptype_problem(name)
    assert (problem == PTYPE_MESSAGE) == (not fits)
    assert (problem is None) == (fits and 3 <= len(name) <= 63)


@pytest.mark.parametrize("name", ["web_x", "Worker-1", "-", "worker-", "-worker", "web\n"])
def test_bad_process_types(name: str) -> None:
    assert ptype_problem(name) == PTYPE_MESSAGE


@pytest.mark.parametrize("name", ["we", "a" * 64])
def test_process_types_of_a_bad_length(name: str) -> None:
    assert ptype_problem(name) == PTYPE_LENGTH_MESSAGE


@pytest.mark.parametrize("key", ["X$", "../../foo", "FOO/", "*A", "bad group", "A\n", "", "É"])
def test_bad_keys(key: str) -> None:
    assert key_problem(key) == KEY_MESSAGE


@pytest.mark.parametrize("key", ["X", "a.b-c_d", "lower", "9"])
def test_good_keys(key: str) -> None:
    assert key_problem(key) is None


@pytest.mark.parametrize(
    ("key", "start"),
    [
        ("-bad", "Tag keys must"),
        ("host/,x", "Tag keys must"),
        ("x-", "Tag keys must"),
        ("a" * 260 + "/x", "Tag key prefixes must 253"),
        ("pre&x/b", "Tag key prefixes must be DNS"),
        ("a/b/c", "Tag key prefixes must be DNS"),
    ],
)
def test_bad_tags(key: str, start: str) -> None:
    assert (tag_key_problem(key) or "").startswith(start)


def test_tag_values() -> None:
    assert tag_key_problem("example.org/disk") is None
    assert tag_value_problem("ssd") is None
    assert all(tag_value_problem(value) for value in ("bad.", "in\nvalid", "", "x" * 64))
