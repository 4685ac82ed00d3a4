"""Names against the patterns that the contract prints (controller-api.md 4.1, 4.5, 4.7, 4.8)."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from controller.domain.apps import NAME_MESSAGE, SLUG_MESSAGE, check_name, generate_name
from controller.domain.errors import InvalidFieldsError
from controller.domain.names import (
    KEY_PATTERN,
    NAME_PATTERN,
    PTYPE_PATTERN,
    key_problem,
    name_problem,
    ptype_problem,
    tag_key_problem,
    tag_value_problem,
)
from support.controller_strategies import laws

APP = r"[a-z]([a-z0-9-]*[a-z0-9])?"
LABEL = r"(?:[a-zA-Z\d][-\.\w]{0,61})?[a-zA-Z\d]"
near_names = st.text("ab9-", max_size=5) | st.text("aA0-_. \n/", max_size=70) | st.text(max_size=70)
long_names = st.integers(60, 66).map(lambda size: "a" * size)


def fits(pattern: str, text: str) -> bool:
    """Whether the pattern takes the whole text; Python's `$` would let a line's end through."""
    return re.fullmatch(pattern.removeprefix("^").removesuffix("$"), text, re.ASCII) is not None


@laws
@given(near_names | long_names | st.from_regex(APP, fullmatch=True), st.sets(st.sampled_from(["a", "b", "drycc"])))
def test_apps(name: str, reserved: set[str]) -> None:
    try:
        assert check_name(name, reserved=reserved) == name
        messages: list[str] = []
    except InvalidFieldsError as error:
        messages = error.errors["id"]
    if name == "":
        assert messages == ["This field may not be blank."]
        return
    assert (NAME_MESSAGE in messages) == (not fits(APP, name))
    assert (SLUG_MESSAGE in messages) == (not fits(r"[-a-zA-Z0-9_]+", name))
    assert ("Ensure this field has no more than 63 characters." in messages) == (len(name) > 63)
    assert (f"{name} is a reserved name." in messages) == (name in reserved)


def test_made_up_names_are_names() -> None:
    assert all(check_name(generate_name(), reserved=()) for _ in range(50))


@laws
@given(near_names | long_names)
def test_process_types_and_names(text: str) -> None:
    sound_length = 3 <= len(text) <= 63
    assert (ptype_problem(text) is None) == (fits(PTYPE_PATTERN, text) and sound_length)
    assert (name_problem(text) is None) == (fits(NAME_PATTERN, text) and sound_length)
    assert (ptype_problem(text) is None) == (name_problem(text) is None)


@laws
@given(near_names | st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8))
def test_keys(text: str) -> None:
    assert (key_problem(text) is None) == fits(KEY_PATTERN, text)


@laws
@given(near_names | long_names, near_names | long_names)
def test_labels(prefix: str, name: str) -> None:
    assert (tag_value_problem(name) is None) == fits(LABEL, name)
    if "/" not in name:
        assert (tag_key_problem(name) is None) == fits(LABEL, name)
        sound_prefix = len(prefix) <= 253 and all(fits(LABEL, part) for part in prefix.split("."))
        assert (tag_key_problem(f"{prefix}/{name}") is None) == (fits(LABEL, name) and sound_prefix)
