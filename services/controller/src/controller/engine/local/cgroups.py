"""The memory controller of Linux, both versions: a group for each instance below our own group.

Rules: kernel documentation, admin-guide/cgroup-v1/memory and admin-guide/cgroup-v2.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil

from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class Dialect:
    """What the two versions do not have in common. The swap file of version 1 counts memory and swap together."""

    name: str
    limit: str
    swap: str
    swap_includes_memory: bool
    events: str


V1 = Dialect("cgroup v1", "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", True, "memory.oom_control")
V2 = Dialect("cgroup v2", "memory.max", "memory.swap.max", False, "memory.events")


@dataclass
class MemoryGroup:
    """The control group of one instance."""

    path: Path
    dialect: Dialect

    @property
    def members_file(self) -> Path:
        """A process that writes `0` here joins the group."""
        return self.path / "cgroup.procs"

    def limit(self, memory_bytes: int) -> None:
        """Set the limit; swap does not extend it where the system counts swap."""
        (self.path / self.dialect.limit).write_text(str(memory_bytes))
        swap = self.path / self.dialect.swap
        if swap.exists():
            with contextlib.suppress(OSError):
                swap.write_text(str(memory_bytes if self.dialect.swap_includes_memory else 0))

    def kills(self) -> int:
        """How many processes of the group the kernel has killed for want of memory."""
        with contextlib.suppress(OSError, ValueError):
            for line in (self.path / self.dialect.events).read_text().splitlines():
                name, _, value = line.partition(" ")
                if name == "oom_kill":
                    return int(value)
        return 0

    def pids(self) -> set[int]:
        """Every process in the group."""
        with contextlib.suppress(OSError, ValueError):
            return {int(line) for line in self.members_file.read_text().split()}
        return set()

    def remove(self) -> bool:
        """Remove the group; False while it still has processes."""
        try:
            self.path.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            return False
        return True


@dataclass
class MemoryTree:
    """The directory that holds the groups of one home, made below the group that we run in ourselves."""

    base: Path
    dialect: Dialect
    undo: Callable[[], None] | None = None

    def group(self, name: str, memory_bytes: int) -> MemoryGroup:
        """Make a group with that limit.

        Raises:
            OSError: the system refuses.
        """
        path = self.base / name
        path.mkdir(exist_ok=True)
        group = MemoryGroup(path, self.dialect)
        try:
            group.limit(memory_bytes)
        except OSError:
            group.remove()
            raise
        return group

    def sweep(self) -> None:
        """Remove groups without processes, left by a platform that was killed."""
        for path in self.base.iterdir():
            if path.is_dir():
                MemoryGroup(path, self.dialect).remove()

    def close(self) -> None:
        """Remove what we made."""
        with contextlib.suppress(OSError):
            self.sweep()
            self.base.rmdir()
        if self.undo is not None:
            self.undo()


def open_tree(mark: str) -> MemoryTree | None:
    """The tree of this home, or None where we may not make groups with a memory limit."""
    for opener in (_open_v2, _open_v1):
        with contextlib.suppress(OSError):
            if tree := opener(f"workflow-{mark}"):
                tree.sweep()
                tree.group("trial", 64 * 1024 * 1024).remove()
                return tree
    return None


def _open_v1(name: str) -> MemoryTree | None:
    own = _own_group("memory")
    mount = _mount("cgroup", "memory")
    if own is None or mount is None or not (parent := mount / own).is_dir():
        return None
    base = parent / name
    base.mkdir(exist_ok=True)
    return MemoryTree(base, V1)


def _open_v2(name: str) -> MemoryTree | None:
    own = _own_group("")
    mount = _mount("cgroup2", None)
    if own is None or mount is None or not (parent := mount / own).is_dir():
        return None
    if "memory" not in (parent / "cgroup.controllers").read_text().split():
        return None
    undo = None
    if "memory" not in (parent / "cgroup.subtree_control").read_text().split():
        undo = _delegate(parent, f"{name}-platform")
    try:
        base = parent / name
        base.mkdir(exist_ok=True)
        (base / "cgroup.subtree_control").write_text("+memory")
    except OSError:
        if undo is not None:
            undo()
        raise
    return MemoryTree(base, V2, undo)


def _delegate(parent: Path, leaf_name: str) -> Callable[[], None]:
    """Hand the memory controller down. A group with processes of its own must not do that (the rule of no inner
    processes), so we move into a leaf first; only done when nobody else's process is in the group."""
    pids = {int(pid) for pid in (parent / "cgroup.procs").read_text().split()}
    ours = {os.getpid(), *(child.pid for child in psutil.Process().children(recursive=True))}
    if not pids <= ours:
        raise PermissionError("other processes share our control group")
    leaf = parent / leaf_name
    leaf.mkdir(exist_ok=True)

    def undo() -> None:
        with contextlib.suppress(OSError):
            (parent / "cgroup.subtree_control").write_text("-memory")
            _move((leaf / "cgroup.procs").read_text().split(), parent)
            leaf.rmdir()

    try:
        _move([str(pid) for pid in pids], leaf)
        (parent / "cgroup.subtree_control").write_text("+memory")
    except OSError:
        undo()
        raise
    return undo


def _move(pids: list[str], group: Path) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            (group / "cgroup.procs").write_text(pid)


def _own_group(controller: str) -> str | None:
    """Our path in the hierarchy of that controller; `""` is version 2's."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(",") and bool(controller) == bool(controllers):
                return path.lstrip("/")
    return None


def _mount(kind: str, option: str | None) -> Path | None:
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/mounts").read_text().splitlines():
            _, place, found, options, *_ = line.split()
            if found == kind and (option is None or option in options.split(",")):
                return Path(place)
    return None
