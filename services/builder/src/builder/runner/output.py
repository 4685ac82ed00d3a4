"""Output of build steps: bytes of foreign programs in, plain lines out."""

from __future__ import annotations

import codecs
import re
from collections import deque
from collections.abc import Iterator

from builder.runner.port import Log

HEADING = "---> "
INDENT = " " * len(HEADING)
TAIL_LINES = 20
MAX_LINE = 8 * 1024

# CSI, OSC and two-character sequences (ECMA-48, section 5): newer git clients show them as `^[[...` to the pusher.
_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(line: str) -> str:
    """One line without control sequences; of a line redrawn with carriage returns the last state counts."""
    line = _ESCAPES.sub("", line).rstrip("\r")
    return _CONTROLS.sub("", line.rpartition("\r")[2])


class StepOutput:
    """Cuts a stream of bytes into plain lines, hands them to the log and remembers the last ones."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        self._pending = ""
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, at most 20."""
        return tuple(self._tail)

    async def feed(self, data: bytes, *, final: bool = False) -> None:
        """Take bytes; whole lines go out at once, a line longer than 8 KiB in parts, the rest when `final`."""
        self._pending += self._decoder.decode(data, final)
        lines = [plain(line) for line in self._complete_lines(final)]
        if lines:
            self._tail.extend(line for line in lines if line.strip())
            await self._log.write("".join(f"{INDENT}{line}".rstrip() + "\n" for line in lines))

    def _complete_lines(self, final: bool) -> Iterator[str]:
        *lines, self._pending = self._pending.split("\n")
        for line in lines:
            yield from (line[start : start + MAX_LINE] for start in range(0, max(len(line), 1), MAX_LINE))
        while len(self._pending) > MAX_LINE:
            yield self._pending[:MAX_LINE]
            self._pending = self._pending[MAX_LINE:]
        if final and self._pending:
            yield self._pending
            self._pending = ""
