"""Changes that are to happen only to a version that the caller has seen (RFC 9110 section 13)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final
from uuid import UUID

from shared.errors import SuiteError


class PreconditionFailedError(SuiteError):
    """What is to be changed is not what the caller has seen."""

    code: ClassVar[str] = "precondition-failed"
    status: ClassVar[int] = 412
    title: ClassVar[str] = "Changed by somebody else meanwhile"


@dataclass(frozen=True)
class IfMatch:
    """The versions that a change is meant for; None: whichever there is."""

    versions: frozenset[str] | None

    def check(self, current: UUID) -> None:
        """Let the change happen. The object must be locked, or the answer is old at once.

        Raises:
            PreconditionFailedError: `current` is none of the versions.
        """
        if self.versions is not None and str(current) not in self.versions:
            raise PreconditionFailedError("it was changed meanwhile: read it again and repeat the change")


ANY_VERSION: Final = IfMatch(None)
