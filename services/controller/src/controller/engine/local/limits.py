"""Memory limits of instances: a control group where the system lets us, a limit on data segments elsewhere.

A start never fails because limits are not to be had.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from controller.engine.local.cgroups import MemoryGroup, MemoryTree, open_tree
from shared.logging import get_logger

log = get_logger(__name__)

_KIBIBYTE = 1024

# Runtimes that fail to allocate below a data limit say so and end by themselves.
_OUT_OF_MEMORY = ("MemoryError", "out of memory", "Out of memory", "Cannot allocate memory", "OutOfMemoryError")


@dataclass
class MemoryLimit:
    """The limit of one running process tree."""

    memory_bytes: int | None
    group: MemoryGroup | None = None
    _kills: int = 0

    @property
    def members_file(self) -> str:
        """What the launcher must write to in order to join the group; empty without one."""
        return str(self.group.members_file) if self.group else ""

    @property
    def data_kibibytes(self) -> int:
        """The data segment limit for the launcher to set; 0 for none."""
        return 0 if self.group or self.memory_bytes is None else self.memory_bytes // _KIBIBYTE

    def ran_out(self, last_lines: tuple[str, ...]) -> bool:
        """Whether the tree came to its end for want of memory."""
        if self.group is not None:
            return max(self._kills, self.group.kills()) > 0
        limited = self.memory_bytes is not None
        return limited and any(word in line for line in last_lines for word in _OUT_OF_MEMORY)

    def remember(self) -> None:
        """Keep the group's counter, which goes with the group."""
        if self.group is not None:
            self._kills = max(self._kills, self.group.kills())

    def pids(self) -> set[int]:
        """Processes that the group holds: exact, whatever they did to their session and environment."""
        return self.group.pids() if self.group else set()


class MemoryLimits:
    """Makes the limits; one per engine."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._tree: MemoryTree | None = None

    async def start(self) -> None:
        """Find out which kind of limit this machine allows."""
        self._tree = await asyncio.to_thread(open_tree, self._mark)
        kind = self._tree.dialect.name if self._tree else "data segment limit of the process"
        log.info("memory_limits", kind=kind)

    @property
    def has_groups(self) -> bool:
        """Whether limits are control groups, which count all processes of an instance together."""
        return self._tree is not None

    async def open(self, instance: str, memory_bytes: int | None) -> MemoryLimit:
        """The limit for one start of an instance; a fresh group each time, so that its counters are its own."""
        if self._tree is None or memory_bytes is None:
            return MemoryLimit(memory_bytes)
        try:
            group = await asyncio.to_thread(self._tree.group, instance, memory_bytes)
        except OSError as exc:
            log.warning("memory_group_failed", instance=instance, reason=str(exc))
            return MemoryLimit(memory_bytes)
        return MemoryLimit(memory_bytes, group)

    async def close_limit(self, limit: MemoryLimit) -> None:
        """Remove the group of a tree that has ended; the kernel lets go of the last member a moment later."""
        if limit.group is None:
            return
        await asyncio.to_thread(limit.remember)
        for delay in (0.0, 0.01, 0.05, 0.2):
            await asyncio.sleep(delay)
            if await asyncio.to_thread(limit.group.remove):
                return
        log.warning("memory_group_left", path=str(limit.group.path))

    async def close(self) -> None:
        """Remove every group that was made."""
        tree, self._tree = self._tree, None
        if tree is not None:
            await asyncio.to_thread(tree.close)
