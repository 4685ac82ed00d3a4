"""The Procfile: which processes an app has and the shell line that starts each of them."""

from __future__ import annotations

import re
from typing import ClassVar

from shared.errors import InvalidInputError

# The patterns and sentences for process types are part of the compatible API; clients match them word for word.
PTYPE_PATTERN = r"^(?P<type>[a-z0-9]+(\-[a-z0-9]+)*)$"
PTYPE_MIN_LENGTH, PTYPE_MAX_LENGTH = 3, 63
MAX_BYTES = 64 * 1024

_PTYPE = re.compile(PTYPE_PATTERN)
_LINE = re.compile(r"(?P<name>[^\s:#][^\s:]*)[ \t]*:(?P<command>.*)", re.DOTALL)
_BLOCK_VALUE = re.compile(r"[|>][+-]?[1-9]?[+-]?")


class ProcfileError(InvalidInputError):
    """The Procfile cannot be used; the detail begins with where."""

    code: ClassVar[str] = "bad-procfile"
    title: ClassVar[str] = "The Procfile is not valid"


def ptype_problem(name: str) -> str | None:
    """What is wrong with a process type's name; None when it is fine (controller API, 4.7)."""
    if _PTYPE.fullmatch(name) is None:
        return f"Process types can only supports: {PTYPE_PATTERN}"
    if not PTYPE_MIN_LENGTH <= len(name) <= PTYPE_MAX_LENGTH:
        return f"The length of ptype must be between {PTYPE_MIN_LENGTH} and {PTYPE_MAX_LENGTH}"
    return None


def parse_procfile(content: bytes) -> dict[str, str]:
    """Process type -> shell line, in the order of the file.

    One process a line, `name: command`; empty lines and lines that start with `#` do not count. A command may hold
    anything that a shell understands, colons included; quotes around the whole of it are taken away, as YAML does.

    Raises:
        ProcfileError: with the line's number and what is wrong there.
    """
    processes: dict[str, str] = {}
    first_seen: dict[str, int] = {}
    for number, line in enumerate(_text(content).splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        name, command = _parse_line(number, line)
        if name in first_seen:
            raise ProcfileError(
                f"Procfile line {number}: `{name}` is already on line {first_seen[name]}; keep one of them"
            )
        first_seen[name] = number
        processes[name] = command
    if not processes:
        raise ProcfileError("Procfile names no process; write a line such as `web: ./server`")
    return processes


def _text(content: bytes) -> str:
    if len(content) > MAX_BYTES:
        raise ProcfileError(f"Procfile has {len(content)} bytes; at most {MAX_BYTES} are read")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        where_bad = content.count(b"\n", 0, exc.start) + 1
        raise ProcfileError(f"Procfile line {where_bad}: not valid UTF-8; save the file as UTF-8") from exc
    # Only these end a line. str.splitlines() would also split at form feeds, U+2028 and others inside a command.
    text = text.replace("\r\n", "\n")
    for number, line in enumerate(text.split("\n"), start=1):
        if bad := next((char for char in line if char in _NOT_IN_COMMANDS), None):
            raise ProcfileError(f"Procfile line {number}: control character U+{ord(bad):04X}; remove it")
    return text


# Tabs are fine. NUL fits into no argument, a person sees none of the others, and the last three end lines in YAML.
_NOT_IN_COMMANDS = frozenset([chr(code) for code in range(32) if code != 9] + ["\x7f", "\x85", "\u2028", "\u2029"])


def _parse_line(number: int, line: str) -> tuple[str, str]:
    match = _LINE.fullmatch(line)
    if match is None:
        raise ProcfileError(f"Procfile line {number}: `{_shortened(line)}` is not `name: command`")
    name, value = match["name"], match["command"].strip()
    if problem := ptype_problem(name):
        raise ProcfileError(f"Procfile line {number}: `{_shortened(name)}`: {problem}")
    if _BLOCK_VALUE.fullmatch(value):
        raise ProcfileError(f"Procfile line {number}: write the command of `{name}` on the same line, not as a block")
    command = _unquoted(value)
    if not command.strip() or command.startswith("#"):
        raise ProcfileError(f"Procfile line {number}: `{name}`: Command can't be empty for process type")
    return name, command


def _unquoted(value: str) -> str:
    """Undo YAML quotes that go around the whole value; `"a b" && "c d"` is left to the shell."""
    if re.fullmatch(r"'(?:[^']|'')*'", value):
        return value[1:-1].replace("''", "'")
    if re.fullmatch(r'"(?:[^"\\]|\\["\\])*"', value):
        return re.sub(r'\\(["\\])', r"\1", value[1:-1])
    return value


def _shortened(text: str, limit: int = 60) -> str:
    text = text.strip()
    return text if len(text) <= limit else f"{text[:limit]}..."
