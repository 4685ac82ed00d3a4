"""What a person who pushed sees of a build: plain lines, written at once, and the processes that most come from."""

from __future__ import annotations

import codecs
import contextlib
import os
import re
import signal
import subprocess
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

HEADING: Final = "---> "
INDENT: Final = " " * len(HEADING)
TAIL_LINES: Final = 60
MAX_LINE: Final = 8 * 1024
GRACE_SECONDS: Final = 5.0
_CHUNK: Final = 64 * 1024

# CSI, OSC and two-character sequences (ECMA-48, section 5): newer git clients show them as `^[[...` to the pusher.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def heading(text: str) -> None:
    """Say what begins now, or what was found."""
    print(f"{HEADING}{text}", flush=True)


def plain(line: str) -> str:
    """One line without control sequences; of a line redrawn with carriage returns the last state counts."""
    line = _ESCAPES.sub("", line).rstrip("\r")
    return _CONTROLS.sub("", line.rpartition("\r")[2])


@dataclass
class Finished:
    """How a process ended: its status (negative: the signal), its last lines, its last line that names a step."""

    status: int = 0
    tail: deque[str] = field(default_factory=lambda: deque(maxlen=TAIL_LINES))
    step: str = ""


def run(argv: Sequence[str], *, environment: Mapping[str, str], cwd: str, step: re.Pattern[str]) -> Finished:
    """Run a process to its end, its output line by line to ours. When we are interrupted, it is ended first."""
    finished = Finished()
    process = subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=cwd,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101  # it is a pipe
        for line in _lines(process.stdout.fileno()):
            print(f"{INDENT}{line}".rstrip(), flush=True)
            if line.strip():
                finished.tail.append(line)
            if step.match(line):
                finished.step = line
        finished.status = process.wait()
    finally:
        _end(process)
    return finished


def _lines(descriptor: int) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    pending = ""
    while data := os.read(descriptor, _CHUNK):
        *lines, pending = (pending + decoder.decode(data)).split("\n")
        for line in lines:
            yield from _cut(plain(line))
        if len(pending) > MAX_LINE:
            yield from _cut(plain(pending))
            pending = ""
    if pending:
        yield from _cut(plain(pending))


def _cut(line: str) -> Iterator[str]:
    for start in range(0, max(len(line), 1), MAX_LINE):
        yield line[start : start + MAX_LINE]


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        _signal(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_SECONDS)
    _signal(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _signal(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
