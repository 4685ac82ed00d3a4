"""The Procfile parser: what is taken, what is refused, and with which words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from builder.domain.procfile import PTYPE_PATTERN, ProcfileError, parse_procfile, ptype_problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web: python app.py\n", {"web": "python app.py"}),
        ("web: a\r\n\r\n# comment\r\nworker: b\r\n", {"web": "a", "worker": "b"}),
        ("web:a", {"web": "a"}),
        ("web : a", {"web": "a"}),
        ("web: gunicorn app:app --bind 0.0.0.0:$PORT", {"web": "gunicorn app:app --bind 0.0.0.0:$PORT"}),
        ("web: A=1 x | y && z; w 'a: b' # why", {"web": "A=1 x | y && z; w 'a: b' # why"}),
        ('web: "python app.py"', {"web": "python app.py"}),
        ("web: 'it''s'", {"web": "it's"}),
        ('web: "a" "b"', {"web": '"a" "b"'}),
        ("web: 'a' && 'b'", {"web": "'a' && 'b'"}),
        ("\ufeffweb: a", {"web": "a"}),
        ("web: grep a\tb", {"web": "grep a\tb"}),
        ("zoo: a\nable: b", {"zoo": "a", "able": "b"}),
    ],
)
def test_a_procfile_is_read(text: str, expected: dict[str, str]) -> None:
    parsed = parse_procfile(text.encode())
    assert parsed == expected
    assert list(parsed) == list(expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"web: a\n\nnonsense here\n", "Procfile line 3: `nonsense here` is not `name: command`"),
        (b"  web: a", "Procfile line 1: `web: a` is not `name: command`"),
        (b"web: a\nweb: b", "Procfile line 2: `web` is already on line 1; keep one of them"),
        (b"web:", "Procfile line 1: `web`: Command can't be empty for process type"),
        (b"web: ''", "Procfile line 1: `web`: Command can't be empty for process type"),
        (b"web: # later", "Procfile line 1: `web`: Command can't be empty for process type"),
        (b"we: a", "Procfile line 1: `we`: The length of ptype must be between 3 and 63"),
        (b"Web: a", f"Procfile line 1: `Web`: Process types can only supports: {PTYPE_PATTERN}"),
        (b"web: |\n  a", "Procfile line 1: write the command of `web` on the same line, not as a block"),
        (b"a: \x00", "Procfile line 1: control character U+0000; remove it"),
        (b"web: a\x85\xff", "Procfile line 1: not valid UTF-8; save the file as UTF-8"),
        (b"web: a\nb: \xff", "Procfile line 2: not valid UTF-8; save the file as UTF-8"),
        ("web: a\u2028b".encode(), "Procfile line 1: control character U+2028; remove it"),
        (b"", "Procfile names no process; write a line such as `web: ./server`"),
        (b"# only\n", "Procfile names no process; write a line such as `web: ./server`"),
        (b"#" * 70_000, "Procfile has 70000 bytes; at most 65536 are read"),
    ],
)
def test_a_bad_procfile_is_refused_with_its_line(content: bytes, message: str) -> None:
    with pytest.raises(ProcfileError) as caught:
        parse_procfile(content)
    assert caught.value.detail == message
    assert caught.value.code == "bad-procfile"


@pytest.mark.parametrize("name", ["web_x", "Worker-1", "-", "worker-", "-worker", "a--b", ""])
def test_names_outside_the_pattern(name: str) -> None:
    assert ptype_problem(name) == r"Process types can only supports: ^(?P<type>[a-z0-9]+(\-[a-z0-9]+)*)$"


@pytest.mark.parametrize("name", ["we", "x" * 64])
def test_names_of_a_wrong_length(name: str) -> None:
    assert ptype_problem(name) == "The length of ptype must be between 3 and 63"


names = st.from_regex(r"[a-z0-9]{1,10}(-[a-z0-9]{1,10}){0,3}", fullmatch=True).filter(lambda name: len(name) >= 3)
commands = (
    st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1)
    .map(str.strip)
    .filter(lambda text: text and text[0] not in "'\"#" and not re.fullmatch(r"[|>][+\-1-9]*", text))
)


@given(st.dictionaries(names, commands, min_size=1, max_size=5), st.sampled_from(["\n", "\r\n", "\n\n", "\n# x\n"]))
def test_what_is_written_is_read_again(processes: dict[str, str], newline: str) -> None:
    text = newline.join(f"{name}: {command}" for name, command in processes.items())
    assert parse_procfile(text.encode()) == processes


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_in_one_line(content: bytes) -> None:
    processes = read_or_refused(content)
    if isinstance(processes, str):
        assert re.fullmatch("Procfile .+", processes)
    else:
        assert processes
        assert all(ptype_problem(name) is None and command.strip() for name, command in processes.items())


def read_or_refused(content: bytes) -> dict[str, str] | str:
    try:
        return parse_procfile(content)
    except ProcfileError as error:
        return error.detail
