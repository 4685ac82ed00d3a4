"""What the user sees and types: output, prompts, tables, times (cli.md 1.5 to 1.7). The spinner is left out."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

_GAP: Final = 4
_WRAP_COLUMNS: Final = 64
_RFC3339: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
Row = Sequence[str]


@dataclass
class Console:
    """The terminal or the pipes of one command. `typed` are the words that answer prompts, in order."""

    zone: str = "UTC"
    typed: list[str] = field(default_factory=list)
    stdout: str = ""
    stderr: str = ""

    def print(self, text: str = "", *, end: str = "\n") -> None:
        """Write to stdout."""
        self.stdout += text + end

    def complain(self, text: str) -> None:
        """Write a line to stderr."""
        self.stderr += text + "\n"

    def ask(self, prompt: str) -> str:
        """The next word from stdin; nothing at its end."""
        self.print(prompt, end="")
        return self.typed.pop(0) if self.typed else ""

    def table(self, header: Row, rows: Iterable[Row]) -> None:
        """A table: every cell padded to its column and four blanks more, the last of the header to one."""
        title = [name.upper().replace("_", " ") for name in header]
        body = list(rows)
        widths = _widths([title, *body])
        *padded, last = _padded(title, widths)
        self.print("".join(padded) + title[-1].ljust(len(last) - _GAP) + " ")
        self._rows(body, widths)

    def facts(self, rows: Iterable[Row]) -> None:
        """A view of labels and values; nested items leave the first column empty."""
        body = list(rows)
        self._rows(body, _widths(body))

    def time(self, text: str) -> str:
        """A time in the user's zone, to the second; what is no time stays as it is."""
        if not _RFC3339.fullmatch(text):
            return text
        moment = datetime.fromisoformat(text.upper().replace("Z", "+00:00")).astimezone(ZoneInfo(self.zone))
        return moment.replace(microsecond=0).isoformat().replace("+00:00", "Z")

    def _rows(self, rows: Iterable[Row], widths: Sequence[int]) -> None:
        for row in rows:
            cells = [cell.split("\n") for cell in row]
            for number in range(max((len(lines) for lines in cells), default=0) or 1):
                line = [lines[number] if number < len(lines) else "" for lines in cells]
                self.print("".join(_padded(line, widths)))


def wrapped(text: str) -> str:
    """`text` on lines of about 64 columns."""
    return "\n".join(textwrap.wrap(text, _WRAP_COLUMNS, break_long_words=False, break_on_hyphens=False))


def or_none(text: str) -> str:
    """`text`, or what stands for none."""
    return text or "<none>"


def cut(text: str, length: int) -> str:
    """The first `length` bytes of `text`, marked when there are more."""
    raw = text.encode()
    return text if len(raw) <= length else raw[:length].decode("utf-8", "replace") + "[...]"


def shown(value: object) -> str:
    """A value of any type as Go's `%v` shows the usual ones."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return str(value)


def _widths(rows: Sequence[Row]) -> list[int]:
    columns = max((len(row) for row in rows), default=0)
    return [
        max((len(line) for row in rows if column < len(row) for line in row[column].split("\n")), default=0)
        for column in range(columns)
    ]


def _padded(cells: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [cell.ljust(width + _GAP) for cell, width in zip(cells, widths, strict=False)]
