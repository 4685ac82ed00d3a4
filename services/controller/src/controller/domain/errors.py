"""Every error that the controller's own rules raise. The sentences that clients match come from the API contract."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from controller.domain.shown import brief
from shared.errors import ConflictError, InvalidInputError, NotFoundError, SuiteError

NON_FIELD = "non_field_errors"


class InvalidFieldsError(InvalidInputError):
    """Fields of the request are wrong: `errors` maps each to its messages (`non_field_errors` for the rest)."""

    code: ClassVar[str] = "invalid-fields"

    def __init__(self, errors: Mapping[str, Sequence[str]]) -> None:
        self.errors = {field: list(messages) for field, messages in errors.items()}
        first = next(iter(self.errors))
        super().__init__("; ".join(self.errors[first]), field=first, errors=self.errors)

    @classmethod
    def of(cls, field: str, message: str) -> InvalidFieldsError:
        """One field, one message."""
        return cls({field: [message]})


class InvalidValueError(InvalidInputError):
    """A value that belongs to no field of the request; compatible clients get it as a bare list of messages."""

    code: ClassVar[str] = "invalid-value"


class MissingKeyError(SuiteError):
    """Something was to be unset that is not set: 422."""

    code: ClassVar[str] = "missing-key"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "There is no such key"

    def __init__(self, key: str, container: str) -> None:
        super().__init__(f"{brief(key)} does not exist under {container}", key=brief(key), container=container)


class NothingChangedError(ConflictError):
    """The request would leave everything as it is."""

    code: ClassVar[str] = "nothing-changed"
    title: ClassVar[str] = "Nothing changed"


class ObjectNotFoundError(NotFoundError):
    """There is no such object, or the one who asks may not see it; `kind` is the name that clients know it by."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"No {kind} matches the given query.", kind=kind)


class AppNotFoundError(ObjectNotFoundError):
    """No app of that name."""

    def __init__(self) -> None:
        super().__init__("App")


class ReleaseNotFoundError(ObjectNotFoundError):
    """The app has no release of that version."""

    def __init__(self) -> None:
        super().__init__("Release")
