"""The path placeholders of the API: a path that does not fit them is unknown (404), not wrong (400)."""

from __future__ import annotations

from typing import Final

from starlette.convertors import Convertor, register_url_convertor


class _Text(Convertor[str]):
    """What the pattern of its subclass admits, as it stands."""

    def convert(self, value: str) -> str:
        return value

    def to_string(self, value: str) -> str:
        return value


class _Version(Convertor[int]):
    """`v3`; a number that no release can have becomes one that no release has."""

    regex = r"v[0-9]+"

    def convert(self, value: str) -> int:
        digits = value[1:]
        return int(digits) if len(digits) < 10 else 0

    def to_string(self, value: int) -> str:
        return f"v{value}"


PATTERNS: Final = {
    "app": r"[a-z0-9-]+",
    "domain": r"\**\.?[-._\w\x80-\uffff]+",  # marks of Indic scripts and such are not in \w
    "name": r"[a-z0-9]+(?:-[a-z0-9]+)*",
    "process": r"[a-z0-9-]+",  # names of apps, which these begin with, may have several hyphens in a row
    "plan": r"[-.\w]+",
    "service_class": r"[-_ .\w]+",
    "file": r"[\s\S]+",
    "username": r"[\w.@+-]+",
    "opaque": r"[-_\w]+",
    "word": r"[\w-]+",
    "rest": r"[^\x00]+",
}


def register() -> None:
    """Make the placeholders known to the router; safe to call again."""
    for name, regex in PATTERNS.items():
        register_url_convertor(name, type(f"_{name.title()}", (_Text,), {"regex": regex})())
    register_url_convertor("version", _Version())
