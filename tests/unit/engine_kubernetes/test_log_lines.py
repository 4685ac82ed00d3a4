"""Lines with times: cut, put in order, and read on where a connection broke."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from controller.engine.kubernetes.log_lines import MAX_LINE, Line, Newest, Position, Splitter, as_said, as_shown

NOON = "2026-01-05T12:00:00"


def stamped(fraction: str, text: str, second: str = NOON) -> bytes:
    return f"{second}.{fraction}Z {text}\n".encode()


def split(data: bytes) -> list[Line]:
    splitter = Splitter()
    return splitter.feed(data) + splitter.flush()


def test_times_are_utc_and_of_one_length() -> None:
    lines = split(b"2026-01-05T14:00:00.5+02:00 one\n2026-01-05T12:00:00Z two\n2026-01-05T12:00:00.123456789Z \n")
    assert [line.stamp.decode() for line in lines] == [
        "2026-01-05T12:00:00.500000000Z",
        "2026-01-05T12:00:00.000000000Z",
        "2026-01-05T12:00:00.123456789Z",
    ]
    assert as_said(lines) == b"one\ntwo\n\n"
    assert as_shown(b"shop", b"web.1", lines[2]) == b"2026-01-05T12:00:00.123456Z shop[web.1]: \n"


def test_what_has_no_time_is_of_the_kubelet_and_no_output() -> None:
    assert as_said(split(b"unable to retrieve container logs for containerd://d4fbec7")) == b""
    assert as_said(split(stamped("1", "said") + b"failed to watch file\n" + stamped("2", "more"))) == b"said\nmore\n"


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(1, 50_000), max_size=8))
def test_chunks_make_no_difference(sizes: list[int]) -> None:
    data = stamped("1", "short") + stamped("2", "y" * 50_000) + stamped("3", "") + b"2026-01-05T12:00:01Z no end"
    splitter, lines, start = Splitter(), [], 0
    for size in [*sizes, len(data)]:
        lines += splitter.feed(data[start : start + size])
        start += size
    lines += splitter.flush()
    assert as_said(lines) == b"short\n" + b"y" * 50_000 + b"\n\nno end"
    assert max(len(line.text) for line in lines) <= MAX_LINE + 64
    assert [line.ends for line in lines][-1] is False


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12), st.data())
def test_weakness_44_reading_on_after_a_break_loses_and_doubles_nothing(
    times: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Whole seconds are all that the API can go on from; many lines may have the same time."""
    source = [stamped(f"{part}", f"line {number}", f"2026-01-05T12:00:0{second}") for number, (second, part) in
              enumerate(sorted(times))]  # fmt: skip
    position, got = Position(), b""
    for _ in range(3):
        since = position.since
        position.again()
        offered = b"".join(line for line in source if line[:19].decode() >= since[:19])
        cut = data.draw(st.integers(0, len(offered)))
        got += as_said(position.new(Splitter().feed(offered[:cut])))
    since = position.since
    position.again()
    offered = b"".join(line for line in source if line[:19].decode() >= since[:19])
    got += as_said(position.new(Splitter().feed(offered)))
    assert got == b"".join(line.partition(b" ")[2] for line in source)


@settings(deadline=None)  # the machine may be busy
@given(st.lists(st.integers(0, 100_000), max_size=4))
def test_a_long_line_that_was_cut_off_goes_on_where_it_was(cuts: list[int]) -> None:
    data = stamped("1", "first") + stamped("2", "".join(f"{n:08}" for n in range(10_000))) + stamped("3", "last")
    position, got = Position(), b""
    for cut in [*cuts, len(data)]:
        position.again()
        got += as_said(position.new(Splitter().feed(data[:cut])))
    assert got == b"".join(line.partition(b" ")[2] for line in data.splitlines(keepends=True))


def test_a_file_that_was_turned_over_meanwhile_hides_no_new_lines() -> None:
    position = Position()
    position.again()
    position.new(split(stamped("1", "a") + stamped("2", "b") + stamped("3", "c")))
    position.again()
    assert as_said(position.new(split(stamped("3", "c") + stamped("4", "d") + stamped("5", "e")))) == b"d\ne\n"


def test_the_newest_are_kept_in_order_of_time() -> None:
    newest = Newest(3)
    newest.add(b"one", split(stamped("1", "a") + stamped("4", "d")))
    newest.add(b"two", split(stamped("2", "b") + stamped("3", "c") + stamped("4", "e")))
    kept = [(speaker, line.text) for speaker, line in newest.take()]
    assert kept == [(b"two", b"c"), (b"one", b"d"), (b"two", b"e")]
    assert newest.dropped == 0


def test_memory_has_a_limit_and_what_it_costs_is_told() -> None:
    newest = Newest(0, most_bytes=10_000)
    for number in range(1000):
        newest.add(b"one", split(stamped(f"{number:03}", f"line {number}")))
    kept = [line.text for _, line in newest.take()]
    assert kept == [f"line {number}".encode() for number in range(1000 - len(kept), 1000)]
    assert newest.dropped == 1000 - len(kept) > 900
