"""Which processes of this machine belong to an instance, and where they listen.

An instance is more than its first process: shells leave children, daemons fork twice and call setsid. Members are
found by session id, by descent, and by the mark in their environment, which children inherit.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from controller.engine.local.config import INSTANCE_VARIABLE, MARK_VARIABLE

_SOCKET_TABLES = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))


@dataclass(frozen=True)
class _Entry:
    pid: int
    parent: int
    session: int
    instance: str | None


@dataclass(frozen=True)
class Listeners:
    """The TCP ports on which the processes of an instance listen."""

    ports: frozenset[int] = frozenset()
    unknown: bool = False
    """The system would not tell (no permission)."""


@dataclass
class Census:
    """Counts processes; the scans of callers that ask at the same moment are one scan."""

    mark: str
    _next: asyncio.Task[list[_Entry]] | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def members(self, instance: str, *, leader: int | None) -> set[int]:
        """Process ids of that instance now. `leader` is the pid of its first process, which leads its session."""
        return _select(await self._scan(), instance=instance, leader=leader)

    async def strays(self) -> set[int]:
        """Everything that carries this home's mark and any instance's name."""
        return {entry.pid for entry in await self._scan() if entry.instance is not None}

    async def listeners(self, pids: Iterable[int]) -> Listeners:
        """Where these processes listen."""
        return await asyncio.to_thread(_listeners, frozenset(pids))

    async def open_connections(self, port: int) -> int:
        """How many connections to that local port stand, those that no process has accepted yet included."""
        return await asyncio.to_thread(_open_connections, port)

    async def _scan(self) -> list[_Entry]:
        # A scan that already runs may have passed over a process that the caller knows of: join only the next one.
        if self._next is None:
            self._next = asyncio.create_task(self._scan_alone(), name="census")
        return await asyncio.shield(self._next)

    async def _scan_alone(self) -> list[_Entry]:
        async with self._lock:
            self._next = None
            return await asyncio.to_thread(_entries, self.mark)


def send(pids: Iterable[int], number: signal.Signals) -> None:
    """Signal each process that still exists; never ourselves."""
    for pid in set(pids) - {os.getpid(), 0, 1}:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def send_group(leader: int, number: signal.Signals) -> None:
    """Signal the process group of that leader, if there is still one."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, number)


def group_exists(leader: int) -> bool:
    """Whether any process of that group is left (zombies count)."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def alive(pids: Iterable[int]) -> set[int]:
    """Those that exist and are not zombies."""
    return {pid for pid in pids if _is_alive(pid)}


def _is_alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _entries(mark: str) -> list[_Entry]:
    entries = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            parent = process.ppid()
            entries.append(_Entry(process.pid, parent, os.getsid(process.pid), _instance(process, mark)))
    return entries


def _instance(process: psutil.Process, mark: str) -> str | None:
    try:
        environment = process.environ()
    except (psutil.Error, OSError):
        return None
    return environment.get(INSTANCE_VARIABLE) if environment.get(MARK_VARIABLE) == mark else None


def _select(entries: list[_Entry], *, instance: str, leader: int | None) -> set[int]:
    found = {
        entry.pid
        for entry in entries
        if entry.instance == instance or (leader is not None and leader in (entry.pid, entry.session))
    }
    children: dict[int, list[int]] = {}
    for entry in entries:
        children.setdefault(entry.parent, []).append(entry.pid)
    queue = list(found)
    while queue:
        fresh = [pid for pid in children.get(queue.pop(), ()) if pid not in found]
        found.update(fresh)
        queue.extend(fresh)
    return found - {os.getpid()}


def _listeners(pids: frozenset[int]) -> Listeners:
    ports: set[int] = set()
    unknown = False
    for pid in pids:
        try:
            sockets = psutil.Process(pid).net_connections(kind="tcp")
        except psutil.AccessDenied:
            unknown = True
            continue
        except (psutil.Error, OSError):
            continue
        ports |= {socket.laddr.port for socket in sockets if socket.status == psutil.CONN_LISTEN}
    return Listeners(frozenset(ports), unknown)


def _open_connections(port: int) -> int:
    # Much cheaper than psutil's answer for the whole system, which looks at every descriptor of every process.
    tables = [path for path in _SOCKET_TABLES if path.exists()]
    if tables:
        return sum(_count_established(table.read_text(), port) for table in tables)
    try:
        sockets = psutil.net_connections(kind="tcp")
    except (psutil.Error, OSError):
        return 0
    return sum(s.status == psutil.CONN_ESTABLISHED and s.laddr[1:2] == (port,) for s in sockets)


def _count_established(table: str, port: int) -> int:
    """Rows of proc_net_tcp(5): the second field is the local address, the fourth the state (01: established)."""
    wanted = f":{port:04X}"
    rows = (line.split(None, 4) for line in table.splitlines()[1:])
    return sum(len(row) > 3 and row[3] == "01" and row[1].endswith(wanted) for row in rows)
