"""Keys of requests that may be sent again (draft-ietf-httpapi-idempotency-key-header)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Final

from shared.errors import ConflictError, InvalidInputError, SuiteError

HEADER: Final = "Idempotency-Key"
_KEY: Final = re.compile(r"[ -~]{1,255}")


class KeyReusedError(SuiteError):
    """The key came with another request before."""

    code: ClassVar[str] = "idempotency-key-reused"
    status: ClassVar[int] = 422
    title: ClassVar[str] = "The key belongs to another request"

    def __init__(self) -> None:
        super().__init__(f"this {HEADER} came with another request before: use a new key for a new request")


class StillRunningError(ConflictError):
    """The first request of that key has not been answered yet."""

    code: ClassVar[str] = "request-in-progress"

    def __init__(self) -> None:
        super().__init__(
            f"a request with this {HEADER} is being handled: ask again in a moment", headers={"Retry-After": "1"}
        )


@dataclass(frozen=True)
class Claim:
    """A request that came with a key. Keys of different callers have nothing to do with each other; `digest` tells
    requests apart."""

    caller: str
    key: str
    digest: bytes

    @property
    def lock(self) -> str:
        """The name of the advisory lock that whoever handles the request holds."""
        return f"idempotency:{self.caller}:{self.key}"


@dataclass(frozen=True)
class Answer:
    """What a request was answered, to the byte."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: bytes = field(repr=False)


def check_key(text: str) -> str:
    """The key in a header.

    Raises:
        InvalidInputError: it is none.
    """
    if not _KEY.fullmatch(text):
        raise InvalidInputError(f"{HEADER} must be 1 to 255 printable ASCII characters")
    return text


def digest_of(*, method: str, target: str, body: bytes) -> bytes:
    """Tells requests apart: SHA-256 over method, path with query, and body."""
    return hashlib.sha256(b"\n".join((method.encode(), target.encode(), body))).digest()
