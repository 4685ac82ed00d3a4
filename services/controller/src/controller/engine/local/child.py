"""One started process with all that comes of it: its session, its children, its output, its memory limit."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

from controller.engine.local.census import alive, group_exists, send, send_group
from controller.engine.local.containers import ContainerTool
from controller.engine.local.launch import Launch, LaunchError
from controller.engine.local.limits import MemoryLimit
from controller.engine.local.logs import LogWriter
from controller.engine.local.machine import Machine
from controller.engine.local.output import OutputPump
from controller.engine.shell import SHELL
from shared.logging import get_logger

log = get_logger(__name__)

# $1 is the members file of a control group, $2 a data limit in KiB. Joining and limiting come before the exec, so
# that not one allocation of the app escapes them; a refusal never keeps the app from starting.
LAUNCHER = """
if [ -n "$1" ]; then { echo 0 > "$1"; } 2>/dev/null || :; fi
if [ "$2" != 0 ]; then ulimit -d "$2" 2>/dev/null || :; fi
shift 2
exec "$@"
"""
_POLL_SECONDS = 0.05
_KILL_ROUNDS = 20
_LAST_OUTPUT_SECONDS = 1.0


class Child:
    """A process of an instance; its members are found by session, descent, mark and control group."""

    def __init__(
        self,
        machine: Machine,
        process: asyncio.subprocess.Process,
        *,
        instance: str,
        limit: MemoryLimit,
        pump: asyncio.Task[None],
        tool: ContainerTool | None,
    ) -> None:
        self._machine = machine
        self._process = process
        self._instance = instance
        self._pump = pump
        self._is_gone = False
        self.limit = limit
        self.tool = tool

    @property
    def pid(self) -> int:
        """The first process; it leads a session and a group of its own."""
        return self._process.pid

    @property
    def exit_status(self) -> int | None:
        """The exit code, minus the signal's number when one ended it; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the first process to end."""
        return await self._process.wait()

    async def members(self) -> set[int]:
        """All processes that belong to it now."""
        found = await self._machine.census.members(self._instance, leader=self.pid)
        return found | self.limit.pids()

    async def stop(self, grace: timedelta) -> None:
        """SIGTERM to all members, SIGKILL after `grace`; nothing is left when this returns. Safe to call twice."""
        if self._is_gone:
            return
        if self.tool is not None:
            await self.tool.stop(self._instance, leader=self.pid, grace=grace)
        await self._end_politely(grace)
        await self._end_by_force()
        await self._release()
        self._is_gone = True

    def terminate_now(self) -> None:
        """Send SIGTERM to the group at once, without waiting."""
        send_group(self.pid, signal.SIGTERM)

    async def _end_politely(self, grace: timedelta) -> None:
        deadline = asyncio.get_running_loop().time() + grace.total_seconds()
        if self.exit_status is None or group_exists(self.pid):
            send_group(self.pid, signal.SIGTERM)
        members = await self.members()
        # Twice the same signal makes some servers drop their work; those in the group have had theirs.
        send({pid for pid in members if not _in_group(pid, self.pid)}, signal.SIGTERM)
        try:
            async with asyncio.timeout_at(deadline):
                await self._process.wait()
                while alive(members):  # noqa: ASYNC110 - nobody tells us of the end of other processes' children
                    await asyncio.sleep(_POLL_SECONDS)
        except TimeoutError:
            return

    async def _end_by_force(self) -> None:
        send_group(self.pid, signal.SIGKILL)
        for _ in range(_KILL_ROUNDS):
            left = alive(await self.members())
            if not left:
                break
            send(left, signal.SIGKILL)
            await asyncio.sleep(_POLL_SECONDS / 5)
        await self._process.wait()

    async def _release(self) -> None:
        """Read the output to its end and give the limit back."""
        _, unfinished = await asyncio.wait({self._pump}, timeout=_LAST_OUTPUT_SECONDS)
        if unfinished:
            self._pump.cancel()
            await asyncio.wait(unfinished)
        elif error := self._pump.exception():
            log.error("output_lost", instance=self._instance, exc_info=error)
        if self.tool is not None:
            await _clear(self._machine, self.tool, self._instance)
        await self._machine.limits.close_limit(self.limit)


async def start_child(
    machine: Machine, launch: Launch, *, instance: str, writer: LogWriter, memory_bytes: int | None
) -> Child:
    """Start what `launch` says; its output goes to `writer`.

    Raises:
        LaunchError: `container-tool-missing`, or the system refused to start a process.
    """
    tool = await machine.containers.choose(launch) if launch.image is not None else None
    limit = await machine.limits.open(instance, memory_bytes if _is_limited_here(machine, tool) else None)
    pump = OutputPump(sink=writer.write, bytes_per_second=machine.config.log_bytes_per_second)
    try:
        process = await _spawn(machine, launch, tool, limit, pump, instance=instance, memory_bytes=memory_bytes)
    except BaseException as exc:
        await _abandon(pump)
        await machine.limits.close_limit(limit)
        if tool is not None:
            await _clear(machine, tool, instance)
        if isinstance(exc, OSError):
            raise _refused(exc) from exc
        raise
    pump.child_started()
    task = asyncio.create_task(pump.run(), name=f"output {instance}")
    return Child(machine, process, instance=instance, limit=limit, pump=task, tool=tool)


async def remove_left_containers(machine: Machine) -> None:
    """Remove the containers of a platform that was killed; their environment files tell that there may be some."""
    directory = machine.config.run_dir / "container-env"
    left = await asyncio.to_thread(lambda: list(directory.iterdir()) if directory.is_dir() else [])
    if left:
        await machine.containers.remove_all()
    for path in left:
        await asyncio.to_thread(path.unlink, missing_ok=True)


async def _spawn(
    machine: Machine,
    launch: Launch,
    tool: ContainerTool | None,
    limit: MemoryLimit,
    pump: OutputPump,
    *,
    instance: str,
    memory_bytes: int | None,
) -> asyncio.subprocess.Process:
    argv, env = launch.argv, launch.env
    if tool is not None:
        env_file = _env_file(machine, instance)
        await asyncio.to_thread(_make_private, env_file)
        argv, env = await tool.prepare(launch, name=instance, memory_bytes=memory_bytes, env_file=env_file)
    return await asyncio.create_subprocess_exec(
        SHELL,
        *("-c", LAUNCHER, "sh", limit.members_file, str(limit.data_kibibytes)),
        *argv,
        env=dict(env),
        cwd=launch.cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pump.write_end,
        stderr=pump.write_end,
        start_new_session=True,
    )


async def _abandon(pump: OutputPump) -> None:
    """Close both ends of a pipe that nobody writes to."""
    pump.child_started()
    await pump.run()


def _is_limited_here(machine: Machine, tool: ContainerTool | None) -> bool:
    """A data limit would hit the tool itself, so beneath one only a control group will do."""
    return tool is None or (machine.limits.has_groups and not tool.limits_memory)


async def _clear(machine: Machine, tool: ContainerTool, instance: str) -> None:
    """Remove the container, then the file that tells a later run of the platform that there may be one."""
    await tool.clear(instance)
    await asyncio.to_thread(_env_file(machine, instance).unlink, missing_ok=True)


def _env_file(machine: Machine, instance: str) -> Path:
    return machine.config.run_dir / "container-env" / instance


def _make_private(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)


def _in_group(pid: int, leader: int) -> bool:
    try:
        return os.getpgid(pid) == leader
    except ProcessLookupError:
        return True


def _refused(exc: OSError) -> LaunchError:
    return LaunchError(
        "process-crashed",
        f"the system did not start it: {exc.strerror}",
        "Check the length of the command and of the config values, and the limits of this machine (`ulimit -a`).",
    )
