"""Small pieces of requests that several endpoints share."""

from __future__ import annotations

from collections.abc import Mapping

from controller.domain.errors import InvalidFieldsError
from shared.errors import InvalidInputError

_MOST_DIGITS = 18


def ptypes_in(body: Mapping[str, object]) -> list[str]:
    """The process types in `{"ptypes": "web,worker"}`; none means all.

    Raises:
        InvalidInputError: it is not a text.
    """
    value = body.get("ptypes")
    if value is None:
        return []
    if not isinstance(value, str):
        raise InvalidInputError("ptypes must be names with commas between them, e.g. web,worker")
    return split_words(value)


def split_words(text: str) -> list[str]:
    """The words between commas, each once."""
    return list(dict.fromkeys(word for part in text.split(",") if (word := part.strip())))


def searchable(text: str) -> str:
    """A query parameter as the database takes it."""
    return text.replace("\0", "")


def flag(text: str, name: str) -> bool:
    """A query parameter that is true or false.

    Raises:
        InvalidFieldsError: it is neither.
    """
    if text.lower() not in ("true", "false", "1", "0"):
        raise InvalidFieldsError.of(name, "Must be a valid boolean.")
    return text.lower() in ("true", "1")


def number(text: str, name: str) -> int:
    """A query parameter that counts something.

    Raises:
        InvalidFieldsError: it is no whole number from 0 on.
    """
    if not (text.isascii() and text.isdigit()) or len(text) > _MOST_DIGITS:
        raise InvalidFieldsError.of(name, "A valid integer is required.")
    return int(text)
