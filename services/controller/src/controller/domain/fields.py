"""Checks one request field after the other and reports all that is wrong at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from controller.domain.errors import InvalidFieldsError
from controller.domain.json_text import NULL_CHARACTERS
from controller.domain.schemas import HIDDEN
from controller.domain.shown import wrong_type

REQUIRED = "This field is required."
BLANK = "This field may not be blank."
NULL = "This field may not be null."
NOT_TEXT = "Not a valid string."
NOT_BOOLEAN = "Must be a valid boolean."

_TRUE = frozenset(("t", "true", "y", "yes", "on", "1"))
_FALSE = frozenset(("f", "false", "n", "no", "off", "0"))


class FieldChecker:
    """Collects the messages of one request; `finish` raises them."""

    def __init__(self, body: Mapping[str, object]) -> None:
        self._body = body
        self._errors: dict[str, list[str]] = {}

    def fail(self, field: str, message: str) -> None:
        """Note one more problem of `field`."""
        self._errors.setdefault(field, []).append(message)

    def finish(self) -> None:
        """Raise what was noted.

        Raises:
            InvalidFieldsError: anything was.
        """
        if self._errors:
            raise InvalidFieldsError(self._errors)

    def text(self, field: str, *, required: bool = False, most: int | None = None, null: bool = False) -> str:
        """A text; absent (and, with `null`, null) is the empty text. Numbers count as text, as they always did."""
        if field not in self._body:
            if required:
                self.fail(field, REQUIRED)
            return ""
        value = self._body[field]
        if value is None:
            if not null:
                self.fail(field, NULL)
            return ""
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            self.fail(field, NOT_TEXT)
            return ""
        text = str(value).strip()
        if "\0" in text:  # bodies of requests hold none, what comes as an event may
            self.fail(field, NULL_CHARACTERS)
        if required and not text:
            self.fail(field, BLANK)
        if most is not None and len(text) > most:
            self.fail(field, f"Ensure this field has no more than {most} characters.")
        return text

    def mapping(
        self,
        field: str,
        problem: Callable[[Mapping[str, object]], str | None],
        *,
        null: bool = False,
        hidden: bool = False,
    ) -> Mapping[str, object]:
        """An object that `problem` has nothing against; absent (and, with `null`, null) is the empty one. With `hidden`
        the message about anything else does not repeat it."""
        value = self._body.get(field, {})
        if value is None and null:
            return {}
        if value is None:
            self.fail(field, NULL)
        elif not isinstance(value, Mapping):
            self.fail(field, wrong_type(repr(HIDDEN if hidden else value), "object"))
        elif (message := problem(value)) is not None:
            self.fail(field, message)
        else:
            return value
        return {}

    def flag(self, field: str) -> bool | None:
        """A boolean in any of the usual spellings; None when absent or null."""
        value = self._body.get(field)
        if value is None or isinstance(value, bool):
            return value
        word = str(value).strip().lower()
        if word not in _TRUE | _FALSE:
            self.fail(field, NOT_BOOLEAN)
            return None
        return word in _TRUE
