"""Limit plans: the sizes that a process can have. The shipped set is the reference's (spec `std1`)."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_GIB: Final = 1024**3


@dataclass(frozen=True)
class Plan:
    """`cpu` counts cores, `memory` GiB."""

    id: str
    cpu: int
    memory: int
    priority: int

    @property
    def memory_bytes(self) -> int:
        """The most memory that one instance may use."""
        return self.memory * _GIB


def _shipped() -> tuple[Plan, ...]:
    sizes = [(cpu, cpu * factor) for cpu in (1, 2, 4, 8, 16, 32, 64) for factor in (1, 2, 4, 8)]
    return tuple(
        Plan(f"std1.large.c{cpu}m{memory}", cpu, memory, 10_000 + 100 * number)
        for number, (cpu, memory) in enumerate(sizes, start=1)
    )


PLANS: Final = MappingProxyType({plan.id: plan for plan in _shipped()})
DEFAULT_PLAN: Final = min(PLANS.values(), key=lambda plan: plan.priority)


def plan_of(plan_id: str | None) -> Plan:
    """The plan of that id; the default for None and for one that is not offered any more."""
    return PLANS.get(plan_id or "", DEFAULT_PLAN)
