"""What pushers read."""

from __future__ import annotations

from builder.domain.text import failure, printable, progress, refusal


def test_a_failure_explains_itself() -> None:
    text = failure("Build failed", code="build-failed", message="one\ntwo", log=["a", "b  "], hint="do\nthis")

    assert text.splitlines() == [
        "!     Build failed (build-failed): one",
        "!     two",
        "      a",
        "      b",
        "!     do",
        "!     this",
    ]


def test_a_failure_without_a_reason_says_so() -> None:
    assert failure("X", code="c", message="") == "!     X (c): no reason was given\n"


def test_lines_are_complete() -> None:
    assert progress("x") == "---> x\n"
    assert refusal("x\ny") == "!     x\n!     y\n"


def test_nul_is_taken_out() -> None:
    assert printable("a\0b") == "ab"
