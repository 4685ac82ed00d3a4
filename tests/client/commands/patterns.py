"""What the commands check in their arguments before any request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from client.model.failures import ClientError, ClientPanic

_KEY_VALUE: Final = re.compile(r"[A-z0-9_\-.]+=")


def atoi(text: str) -> int:
    """A number as `strconv.Atoi` reads it; raises ClientError with Go's text."""
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ClientError(f'strconv.Atoi: parsing "{text}": invalid syntax')
    return int(text)


def version_number(text: str) -> int:
    """`3` or `v3`."""
    if text == "v":
        raise ClientError("v is not in the form 'v#'")
    return atoi(text.removeprefix("v"))


def variables(pairs: Iterable[str]) -> dict[str, str]:
    """`KEY=value` words; those that start with `#` are comments."""
    found = {}
    for pair in pairs:
        if not pair:
            raise ClientPanic("index out of range [0] with length 0")
        if pair.startswith("#"):
            continue
        if not _KEY_VALUE.match(pair):
            raise ClientError(f"'{pair}' does not match the pattern 'key=var', ex: MODE=test")
        name, _, value = pair.partition("=")
        found[name] = value
    return found


def labels(pairs: Iterable[str], examples: str) -> dict[str, str]:
    """`key=value` words with exactly one `=` and something on both sides."""
    found = {}
    for pair in pairs:
        key, *rest = pair.split("=")
        if not key or len(rest) != 1 or not rest[0]:
            raise ClientError(f"{pair} is invalid, Must be in format key=value\nExamples: {examples}")
        found[key] = rest[0]
    return found


def matched(pattern: re.Pattern[str], pairs: Iterable[str], separator: str, complaint: str) -> dict[str, str]:
    """Words of that pattern, split at the first `separator`; `complaint` names the word as `{}`."""
    found = {}
    for pair in pairs:
        if not pattern.search(pair):
            raise ClientError(complaint.format(pair))
        key, _, value = pair.partition(separator)
        found[key] = value
    return found
