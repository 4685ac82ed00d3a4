"""Bytes of build steps become plain lines, whatever the steps print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.runner.output import MAX_LINE, StepOutput, plain
from support.builds import ListLog


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("10%\r50%\r100%", "100%"),
        ("text\r", "text"),
        ("a\x1b[2K\x1b[1Gb", "ab"),
        ("a\tb\x07\x00c", "a\tbc"),
        ("\x9b31mx", "31mx"),
    ],
)
def test_lines_are_plain(line: str, expected: str) -> None:
    assert plain(line) == expected


async def test_lines_go_out_when_complete_and_the_rest_at_the_end() -> None:
    log = ListLog()
    output = StepOutput(log)
    await output.feed(b"one\r\ntw")
    assert log.lines == ["     one\n"]
    await output.feed("o \u00e9".encode()[:-1])
    await output.feed("\u00e9".encode()[-1:])
    await output.feed(b"\n\n")
    await output.feed(b"rest")
    await output.feed(b"", final=True)
    assert log.lines[1:] == ["     two \u00e9\n\n", "     rest\n"]
    assert output.tail == ("one", "two \u00e9", "rest")


async def test_a_huge_line_goes_out_in_parts() -> None:
    log = ListLog()
    output = StepOutput(log)
    for _ in range(16):
        await output.feed(b"x" * 65536)
    await output.feed(b"", final=True)
    assert max(len(line) for line in log.text.splitlines()) <= MAX_LINE + 5
    assert log.text.count("x") == 16 * 65536


async def test_the_tail_has_the_last_twenty_lines() -> None:
    output = StepOutput(ListLog())
    await output.feed(b"".join(b"%d\n" % number for number in range(50)))
    assert output.tail == tuple(str(number) for number in range(30, 50))


@given(st.lists(st.binary(max_size=50), max_size=5))
async def test_any_bytes_come_out_as_text_without_controls(chunks: list[bytes]) -> None:
    log = ListLog()
    output = StepOutput(log)
    for chunk in chunks:
        await output.feed(chunk)
    await output.feed(b"", final=True)
    assert not [char for char in log.text if ord(char) < 32 and char not in "\t\n"]
