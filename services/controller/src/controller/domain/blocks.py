"""Blocks: what the billing manager shuts down."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from shared.errors import InvalidInputError

DEFAULT_REMARK: Final = "Blocked for unknown reason"
MAX_REMARK: Final = 1024
_MOST_DIGITS: Final = 18


class BlockKind(StrEnum):
    """What can be blocked, as paths name it: an app by its name, a user by the identity provider's number."""

    APPS = "apps"
    USERS = "users"


@dataclass(frozen=True)
class Target:
    """The app or user that a block is about."""

    kind: BlockKind
    id: str


def check_target(kind: str, id_: str) -> Target:
    """What a request names.

    Raises:
        InvalidInputError: there is no such kind, or users have no such number.
    """
    if kind not in set(BlockKind):
        raise InvalidInputError(f"Unsupported block type: {kind}")
    is_number = id_.isascii() and id_.isdigit() and len(id_) <= _MOST_DIGITS
    if kind == BlockKind.USERS and not is_number:
        raise InvalidInputError(f"users are blocked by their number, which {id_} is not")
    return Target(BlockKind(kind), str(int(id_)) if is_number and kind == BlockKind.USERS else id_)
