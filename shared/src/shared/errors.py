"""The one error model of the suite: a class per condition, a stable code, a status and typed facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class SuiteError(Exception):
    """A condition that we expect and can explain.

    `detail` is one sentence for people and never holds a secret. `facts` are JSON values that become extension members
    of the problem document; `headers` go out with the answer (`Retry-After`, `WWW-Authenticate`).
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Something went wrong"

    def __init__(
        self,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: object,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.headers = dict(headers or {})
        self.facts = facts


class InvalidInputError(SuiteError):
    """The request makes no sense as it stands; the detail says what to change."""

    code = "invalid-input"
    status = 400
    title = "Invalid input"


class UnauthenticatedError(SuiteError):
    """Nobody, or nobody that we can verify, is asking."""

    code = "unauthenticated"
    status = 401
    title = "Authentication is required"


class ForbiddenError(SuiteError):
    """We know who asks, and the answer is no."""

    code = "forbidden"
    status = 403
    title = "Not allowed"


class NotFoundError(SuiteError):
    """There is no such thing, or none that the one who asks may see."""

    code = "not-found"
    status = 404
    title = "Not found"


class ConflictError(SuiteError):
    """The request is sound but what is there now stands against it."""

    code = "conflict"
    status = 409
    title = "Conflict"


class UnavailableError(SuiteError):
    """Something that we depend on does not answer; trying again later may help."""

    code = "unavailable"
    status = 503
    title = "Temporarily unavailable"
