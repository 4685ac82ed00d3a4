"""Lines from bytes, log files."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from controller.engine.local.logfile import STAMP_LENGTH, LogFile, generations, stamp, tail
from controller.engine.local.output import MAX_LINE, LineSplitter


@given(st.lists(st.binary(max_size=50), max_size=20), st.integers(1, 7))
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], size: int) -> None:
    clean = [line.replace(b"\n", b"").replace(b"\r", b"") for line in lines]
    data = b"".join(line + b"\r\n" for line in clean)
    splitter = LineSplitter()
    found = []
    for start in range(0, len(data), size):
        found += splitter.feed(data[start : start + size])
    assert found == clean
    assert splitter.flush() == []


def test_a_long_line_is_cut() -> None:
    splitter = LineSplitter()
    parts = splitter.feed(b"x" * (2 * MAX_LINE + 5)) + splitter.feed(b"y\n")
    assert [len(part) for part in parts] == [MAX_LINE, MAX_LINE, 6]
    assert [len(part) for part in splitter.feed(b"z" * (MAX_LINE + 1) + b"\n")] == [MAX_LINE, 1]


def test_a_line_in_the_making_can_be_taken() -> None:
    splitter = LineSplitter()
    assert splitter.feed(b"name? ") == []
    assert splitter.has_partial
    assert splitter.flush() == [b"name? "]
    assert not splitter.has_partial


def test_stamps_are_of_one_length_and_sort() -> None:
    assert len(stamp()) == STAMP_LENGTH
    assert stamp() <= stamp()


def test_files_turn_over_and_the_tail_reaches_across(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "x.log"
    log = LogFile(path, max_bytes=100, backups=2)
    for number in range(60):
        log.append(b"line %02d\n" % number)
    log.close()
    assert [file.name for file in generations(path)] == ["x.log", "x.log.1", "x.log.2"]
    assert all(file.stat().st_size <= 100 for file in generations(path))
    assert tail(path, 3) == [b"line 57", b"line 58", b"line 59"]
    assert tail(path, 20) == [b"line %02d" % number for number in range(40, 60)]
    everything = tail(path, 0)
    assert everything[-1] == b"line 59"
    assert everything == sorted(everything)
    assert len(everything) > 20


@given(lines=st.lists(st.integers(0, 90_000), max_size=8), wanted=st.integers(1, 10))
def test_the_tail_of_any_file(lines: list[int], wanted: int) -> None:
    with TemporaryDirectory() as directory:
        path = Path(directory) / "x.log"
        texts = [b"%d" % number + b"x" * number for number in lines]
        path.write_bytes(b"".join(text + b"\n" for text in texts) + b"not complete")
        assert tail(path, wanted) == texts[-wanted:]


def test_a_log_that_cannot_be_written_loses_lines_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = LogFile(tmp_path / "file" / "x.log", max_bytes=100, backups=1)
    log.append(b"one\ntwo\n")
    assert log.lost == 2
