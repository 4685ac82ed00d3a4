"""What answers of a controller say about a release."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.domain.builds import Verdict
from builder.domain.release_ends import MAX_LINE, MAX_LINES, answered, unreached, words_of


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ('"No App matches the given query."', "No App matches the given query."),
        ('{"detail": "it is locked"}', "it is locked"),
        ('{"error": {"detail": "it is locked", "code": null}}', "it is locked"),
        ('{"procfile": ["bad", "worse"], "image": ["none"]}', "procfile: bad\nprocfile: worse\nimage: none"),
        ('{"non_field_errors": ["both"]}', "both"),
        ('["one", 2]', "one\n2"),
        ("plain words\\nand more", "plain words\nand more"),
        ("<!doctype html><h1>Gateway</h1>", ""),
        ("", ""),
        ("null", ""),
        ('"a\\u001b[31mb\\u202ec\\u0000d"', "a [31mb c d"),
    ],
)
def test_sentences_are_read_out_of_every_form_of_error(body: str, words: str) -> None:
    assert words_of(body.encode()) == words


def test_words_are_bounded() -> None:
    text = words_of(json.dumps(["x" * 10_000] * 100).encode())
    assert [len(line) for line in text.split("\n")] == [MAX_LINE] * MAX_LINES


def test_a_body_that_is_nested_too_deeply_has_no_meaning() -> None:
    assert len(words_of(b"[" * 100_000)) == MAX_LINE


@given(st.integers(min_value=200, max_value=999), st.binary(max_size=200))
def test_whatever_is_answered_is_printable_and_has_an_end(status: int, body: bytes) -> None:
    end = answered("shop", status, body)
    text = end.text("shop")
    assert text.endswith("\n")
    assert all(line.isprintable() for line in text.split("\n"))
    assert (end.verdict is Verdict.DEPLOYED) == (end.version is not None)
    assert (end.verdict is Verdict.REJECTED) == (300 <= status < 500)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_any_json_is_read(value: object) -> None:
    assert all(line.isprintable() for line in words_of(json.dumps(value).encode()).split("\n"))


@pytest.mark.parametrize(("version", "is_made"), [(3, True), (0, False), (-1, False), (True, False), ("3", False)])
def test_only_a_version_is_a_release(version: object, is_made: bool) -> None:
    end = answered("shop", 201, json.dumps({"release": {"version": version}}).encode())
    assert (end.verdict is Verdict.DEPLOYED) is is_made


def test_the_words_of_a_deployed_release_are_those_of_builders_of_before() -> None:
    end = answered("shop", 200, b'{"release": {"version": 5}}')
    assert end.text("shop") == "---> Done, shop:v5 deployed to Workflow\n"


def test_a_controller_that_was_not_reached() -> None:
    assert unreached(5).text("shop") == (
        "!     Not deployed (controller-unavailable): the build is complete, but the controller could not be reached "
        "for 5 min\n!     Nothing was deployed; push again later.\n"
    )
