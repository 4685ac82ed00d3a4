"""Small pieces of requests that several endpoints share."""

from __future__ import annotations

from collections.abc import Mapping

from shared.errors import InvalidInputError


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
