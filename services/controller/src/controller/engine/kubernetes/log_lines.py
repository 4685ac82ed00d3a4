"""Lines of output with the times that the kubelet gives them, and how far they have been read. Pure."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, NamedTuple

MAX_LINE: Final = 16 * 1024
"""Longer lines are cut into several of this many bytes, as the local engine does."""
MOST_BYTES: Final = 32 * 1024 * 1024
"""What is kept of the output of a whole app while it is put in order; the oldest goes first."""

_STAMP: Final = re.compile(rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)(?: |$)")
_LONGEST_STAMP: Final = len("2026-01-05T10:15:00.000000000+00:00 ")
_SECOND: Final = len("2026-01-05T10:15:00")
_MICROSECONDS: Final = len("2026-01-05T10:15:00.000000")
_LINE_COST: Final = 150


class Line(NamedTuple):
    """A line, or a piece of a long one; only the last piece `ends` it. `stamp` is UTC to the nanosecond and always of
    the same length, so that stamps sort as they are."""

    stamp: bytes
    text: bytes
    ends: bool


class Splitter:
    """Cuts what the kubelet sends into lines. What has no time is not of the app but of the kubelet, and dropped."""

    def __init__(self) -> None:
        self._rest = b""
        self._stamp: bytes | None = None
        self._is_inside = False

    def feed(self, data: bytes) -> list[Line]:
        """The lines that `data` completes, and pieces of one that is too long to wait for."""
        *whole, self._rest = (self._rest + data).split(b"\n")
        lines = [piece for line in whole for piece in self._pieces(line, ends=True)]
        if len(self._rest) > MAX_LINE + _LONGEST_STAMP:
            lines += self._pieces(self._rest, ends=False)
            self._rest = b""
        return lines

    def flush(self) -> list[Line]:
        """What there is of a line without an end."""
        rest, self._rest = self._rest, b""
        return list(self._pieces(rest, ends=False)) if rest else []

    def _pieces(self, text: bytes, *, ends: bool) -> Iterator[Line]:
        if not self._is_inside:
            found = _STAMP.match(text)
            self._stamp = None if found is None else _utc(found)
            text = text if found is None else text[found.end() :]
        self._is_inside = not ends
        if self._stamp is None:
            return
        for start in range(0, max(len(text), 1), MAX_LINE):
            is_last = start + MAX_LINE >= len(text)
            yield Line(self._stamp, text[start : start + MAX_LINE], ends and is_last)


class Position:
    """How far the output of a pod has been read: whoever reads on from `since` is told what of it is new.

    The API goes by whole seconds, so that the lines of one second are counted. Restarts of a container make no
    difference: what it says then has later times.
    """

    def __init__(self) -> None:
        self._second = b""
        self._count = 0
        self._newest = b""
        self._skip = 0
        # A line that goes on: its time, how much of it was given, and how much of it came over this connection.
        self._open, self._given, self._came = b"", 0, 0

    @property
    def since(self) -> str:
        """Where to read on, as the API takes it; empty as long as nothing was read."""
        return f"{self._second.decode()}Z" if self._second else ""

    def again(self) -> None:
        """What comes next begins at `since`."""
        self._skip, self._came = self._count, 0

    def new(self, lines: list[Line]) -> list[Line]:
        """What of these lines has not come before, in the order in which they come."""
        return [fresh for line in lines if (fresh := self._new(line)) is not None]

    def _new(self, line: Line) -> Line | None:
        if self._skip:
            if line.stamp <= self._newest:
                self._skip -= line.ends
                return None
            self._skip = 0  # the kubelet has begun another file meanwhile
        self._newest = max(self._newest, line.stamp)
        fresh = self._rest_of(line)
        if line.ends:
            self._open, self._given, self._came = b"", 0, 0
            self._count_in(line.stamp[:_SECOND])
        return fresh

    def _rest_of(self, line: Line) -> Line | None:
        if line.stamp != self._open:
            self._open, self._given, self._came = line.stamp, 0, 0
        known = max(self._given - self._came, 0)
        self._came += len(line.text)
        self._given = max(self._given, self._came)
        text = line.text[known:]
        return line._replace(text=text) if text or line.ends else None

    def _count_in(self, second: bytes) -> None:
        if second > self._second:
            self._second, self._count = second, 0
        self._count += second == self._second


class Newest:
    """The newest lines of several speakers in order of time: `most` of them, or all when that is 0 or less.

    What takes more than `most_bytes` is dropped, the oldest first, and counted.
    """

    def __init__(self, most: int, *, most_bytes: int = MOST_BYTES) -> None:
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._heap: list[tuple[bytes, int, bytes, Line]] = []
        self._number = 0
        self.dropped = 0

    def add(self, speaker: bytes, lines: list[Line]) -> None:
        """Lines of one speaker, in its own order."""
        for line in lines:
            self._number += 1
            heapq.heappush(self._heap, (line.stamp, self._number, speaker, line))
            self._bytes += len(line.text) + _LINE_COST
            if 0 < self._most < len(self._heap):
                self._drop()
            while self._bytes > self._most_bytes and self._heap:
                self._drop()
                self.dropped += 1

    def take(self) -> Iterator[tuple[bytes, Line]]:
        """All of them, each with its speaker; afterwards there are none."""
        ordered = sorted(self._heap, key=lambda one: one[:2])
        self._heap.clear()
        return ((speaker, line) for _, _, speaker, line in ordered)

    def _drop(self) -> None:
        self._bytes -= len(heapq.heappop(self._heap)[3].text) + _LINE_COST


def as_said(lines: list[Line]) -> bytes:
    """Lines as the process wrote them."""
    return b"".join(line.text + b"\n" if line.ends else line.text for line in lines)


def as_shown(app: bytes, speaker: bytes, line: Line) -> bytes:
    """A line in the merged output of an app, as the local engine shows it: `<time> <app>[<type>.<id>]: <text>`."""
    return b"%b %b[%b]: %b\n" % (line.stamp[:_MICROSECONDS] + b"Z", app, speaker, line.text.removesuffix(b"\r"))


def now_line(text: str, now: datetime | None = None) -> Line:
    """Something that the platform has to say itself."""
    return Line((now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%S.%f000Z").encode(), text.encode(), ends=True)


def _utc(found: re.Match[bytes]) -> bytes:
    moment, fraction, zone = found[1], (found[2] or b"").ljust(9, b"0"), found[3]
    if zone != b"Z":
        with suppress(ValueError, OverflowError):
            there = datetime.fromisoformat((moment + zone).decode())
            moment = there.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S").encode()
    return b"%b.%bZ" % (moment, fraction)
