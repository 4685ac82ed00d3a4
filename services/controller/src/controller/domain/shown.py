"""How much of what somebody sent is repeated to them, and with it in logs and events."""

from __future__ import annotations

from typing import Final

MOST_SHOWN: Final = 200
_TAIL: Final = 45
_GAP: Final = " ... "


def brief(text: str, most: int = MOST_SHOWN) -> str:
    """The text; of a longer one than `most` characters its beginning and its end."""
    return text if len(text) <= most else f"{text[: most - _TAIL - len(_GAP)]}{_GAP}{text[-_TAIL:]}"


def shown(value: object) -> str:
    """The value as Python prints it, because clients have always seen values so; a long one in brief."""
    return brief(repr(value))


def wrong_type(value: str, kind: str) -> str:
    """The sentence about a value, as it is shown, that is not of the JSON type `kind`."""
    return f"could not validate {brief(value)}: {brief(value)} is not of type '{kind}'"
