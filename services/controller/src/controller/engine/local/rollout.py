"""Which instances to start and which to retire next. Pure: the same facts give the same step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

SURGE = 1
"""How many new instances may be on their way while old ones still serve."""

AT_ONCE = 8
"""How many instances of one type may be on their way otherwise: a hundred at once would starve the machine."""


class Replica(Protocol):
    """What the rule needs to know of an instance that is not retired."""

    @property
    def fingerprint(self) -> str:
        """Of the spec that it runs."""

    @property
    def is_ready(self) -> bool:
        """Whether it serves."""


R = TypeVar("R", bound=Replica)


@dataclass(frozen=True)
class Step(Generic[R]):
    """Start so many of the wanted kind; take these out of service."""

    start: int
    retire: tuple[R, ...]


def next_step(replicas: Sequence[R], *, fingerprint: str, wanted: int) -> Step[R]:
    """The next step towards `wanted` instances of `fingerprint`. `replicas` are ordered from old to young.

    Old instances that serve are given up only against new ones that do; old ones that do not serve are given up at
    once, as nothing depends on them.
    """
    current = [replica for replica in replicas if replica.fingerprint == fingerprint]
    old = [replica for replica in replicas if replica.fingerprint != fingerprint]
    serving = [replica for replica in old if replica.is_ready]
    ready = sum(replica.is_ready for replica in current)

    kept = max(0, wanted - ready)
    retire = [replica for replica in old if not replica.is_ready]
    retire += serving[: max(0, len(serving) - kept)]
    retire += _surplus(current, len(current) - wanted)

    at_once = SURGE if kept and serving else AT_ONCE
    missing = min(max(0, wanted - len(current)), max(0, at_once - (len(current) - ready)))
    return Step(missing, tuple(retire))


def _surplus(current: Sequence[R], count: int) -> list[R]:
    """Those that do not serve first, then the youngest."""
    youngest_first = list(reversed(current))
    youngest_first.sort(key=lambda replica: replica.is_ready)
    return youngest_first[: max(0, count)]
