"""The lines that a pusher reads: plain text, one prefix for progress and one for errors, no control sequences."""

from __future__ import annotations

from collections.abc import Iterable

PROGRESS = "---> "
ERROR = "!     "
INDENT = "      "


def progress(text: str) -> str:
    return f"{PROGRESS}{text}\n"


def indented(lines: Iterable[str]) -> str:
    return "".join(f"{INDENT}{line}\n" for line in lines)


def failure(what: str, *, code: str, message: str, log: Iterable[str] = (), hint: str = "") -> str:
    """A failure that explains itself: reason code, message, last lines of output and what to do."""
    first, *rest = message.splitlines() or ["no reason was given"]
    text = f"{ERROR}{what} ({code}): {first}\n" + "".join(f"{ERROR}{line}\n" for line in rest)
    text += indented(line.rstrip() for line in log)
    return text + "".join(f"{ERROR}{line}\n" for line in hint.splitlines())


def refusal(message: str) -> str:
    return "".join(f"{ERROR}{line}\n" for line in message.splitlines())


def storable(text: str) -> str:
    """Without what no database takes, nor an event: NUL, and the bytes of names that are not UTF-8 (PEP 383)."""
    return printable(text).encode("utf-8", "replace").decode()


def printable(text: str) -> str:
    """Without NUL bytes: they are the framing of the hook protocol, so that no build output may forge them."""
    return text.replace("\0", "")
