"""`.build-arg` means the same in both stacks, and values may have blanks (builder.md 13.2 (7), 13.3, 18.15)."""

from __future__ import annotations

import pytest

from builder.domain.build_arguments import BuildArgumentsError, parse_build_arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("A=1 B=2\nC=3", {"A": "1", "B": "2", "C": "3"}),
        ("A='b c' D=e", {"A": "b c", "D": "e"}),
        ('A="it\'s"', {"A": "it's"}),
        ("OPTIONS=-Xmx1g -Dx=y", {"OPTIONS": "-Xmx1g -Dx=y"}),
        ("GREETING=hello big world\r\n", {"GREETING": "hello big world"}),
        ("A=don't", {"A": "don't"}),
        ("# A=1\n\n  B=2  ", {"B": "2"}),
        ("A=1\nA=2", {"A": "2"}),
        ("A=", {"A": ""}),
        ("\ufeffA=1", {"A": "1"}),
    ],
)
def test_weakness_15_blanks_break_no_build_argument(text: str, expected: dict[str, str]) -> None:
    assert parse_build_arguments(text.encode()) == expected


@pytest.mark.parametrize("content", [None, b"x" * 65537, b"A=1\nB\n", b"1A=x", b"A=\0"])
def test_what_cannot_be_read_is_told_without_its_value(content: bytes | None) -> None:
    with pytest.raises(BuildArgumentsError, match=r"^\.build-arg"):
        parse_build_arguments(content)
