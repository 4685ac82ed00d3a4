"""JSON as clients send it, read strictly: what no column can hold, or what cannot be written again, is refused."""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

NULL_CHARACTERS: Final = "Null characters are not allowed."
MOST_DEPTH: Final = 100
"""How deep values may be nested; what handles them goes by recursion."""


def parse_json(text: str) -> object:
    """The value that `text` is.

    Raises:
        ValueError: it is no JSON, or nested too deeply, or holds U+0000, half a surrogate pair or a number that JSON
            has not; the message says which.
    """
    try:
        value = json.loads(text, parse_constant=_refuse_constant, parse_float=_finite)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if text.count("{") + text.count("[") > MOST_DEPTH:
        _check_depth(value)
    if "\\u" in text or "\0" in text:
        _check_storable(value)
    return value


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _refuse_constant(text)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"Out of range float values are not JSON compliant: {name}")


def _check_depth(value: object) -> None:
    level = [value]
    for _ in range(MOST_DEPTH + 1):
        level = [item for each in level for item in _items(each)]
    if level:
        raise ValueError("nested too deeply")


def _items(value: object) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _check_storable(value: Any) -> None:
    """PostgreSQL stores neither U+0000 nor halves of surrogate pairs."""
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError(NULL_CHARACTERS)
        value.encode("utf-8")
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_storable(key)
            _check_storable(item)
    elif isinstance(value, list):
        for item in value:
            _check_storable(item)
