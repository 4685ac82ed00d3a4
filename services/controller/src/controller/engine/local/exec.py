"""Commands beside a running instance for a person: with a terminal (pty) or through pipes."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import os
import pty
import signal
import struct
import termios
from collections.abc import Sequence
from dataclasses import dataclass

from controller.engine.local.census import send_group
from controller.engine.local.child import Child
from controller.engine.local.containers import tool_environment
from controller.engine.local.instance import exit_code
from controller.engine.local.launch import Launch
from controller.engine.local.tasks import cancel
from controller.engine.shell import SHELL
from shared.errors import UnavailableError

STDOUT, STDERR = 1, 2
_CHUNK = 32 * 1024
_LAST_OUTPUT_SECONDS = 0.2
_CLOSE_SECONDS = 1.0
_DEFAULT_SIZE = (24, 80)

# Opening a terminal makes it the controlling one of a session leader without any (tty_ioctl(4)), so job control and
# Ctrl-C work; the child starts in a session of its own. exec's own message and status (127) tell of a wrong command.
_ON_TERMINAL = 'terminal=$1; shift; exec <>"$terminal" >&0 2>&0; exec "$@"'
_PLAIN = 'exec "$@"'


@dataclass(frozen=True)
class _Ends:
    """Our ends of a session: descriptors to read from by stream number, and one to write to."""

    outputs: dict[int, int]
    stdin: int | None
    terminal: bool

    @property
    def descriptors(self) -> set[int]:
        """All of them, each once: a terminal is read and written through the same one."""
        return set(self.outputs.values()) | ({self.stdin} if self.stdin is not None else set())


class LocalExecSession:
    """One command; its output comes in order of arrival and is held back when nobody reads."""

    def __init__(self, process: asyncio.subprocess.Process, ends: _Ends) -> None:
        self._process = process
        self._ends = ends
        self._arrived: asyncio.Queue[tuple[int, bytes] | None] = asyncio.Queue(maxsize=8)
        self._ended = False
        self._progress = 0
        self._collector = asyncio.create_task(self._collect(), name=f"exec {process.pid}")

    @property
    def has_ended(self) -> bool:
        """Whether the command is over."""
        return self._process.returncode is not None

    async def read(self) -> tuple[int, bytes] | None:
        """The next output: (1, stdout) or (2, stderr); None when the command has ended and all was read."""
        if self._ended:
            return None
        item = await self._arrived.get()
        self._ended = item is None
        return item

    async def write(self, data: bytes) -> None:
        """Bytes for stdin; ignored when the command has ended or has no stdin."""
        view = memoryview(data)
        while view and self._ends.stdin is not None and self._process.returncode is None:
            try:
                view = view[os.write(self._ends.stdin, view) :]
            except BlockingIOError:
                await _ready(self._ends.stdin, writing=True)
            except OSError:
                return

    async def resize(self, *, height: int, width: int) -> None:
        """New size of the terminal in character cells; nothing without one."""
        if self._ends.terminal and not self._collector.done():
            _set_size(self._ends.outputs[STDOUT], height, width)

    async def wait(self) -> int:
        """The exit code; 128 + n for signal n."""
        return exit_code(await self._process.wait()) or 0

    async def close(self) -> None:
        """End the command if it still runs; safe to call twice."""
        if self._process.returncode is None:
            send_group(self._process.pid, signal.SIGHUP)
            send_group(self._process.pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self._process.wait(), _CLOSE_SECONDS)
            except TimeoutError:
                send_group(self._process.pid, signal.SIGKILL)
                await self._process.wait()
        if not self._collector.done():
            await cancel(self._collector)
        self._ended = True

    async def _collect(self) -> None:
        outputs = self._ends.outputs.items()
        pumps = [asyncio.create_task(self._pump(*output)) for output in outputs]
        try:
            await self._process.wait()
            await self._drain(pumps)
        finally:
            await cancel(*pumps)
            for descriptor in self._ends.descriptors:
                os.close(descriptor)
        await self._arrived.put(None)

    async def _drain(self, pumps: list[asyncio.Task[None]]) -> None:
        """What the command wrote is read to the end; a child of it that holds the pipe open is not waited for."""
        pending: set[asyncio.Task[None]] = set(pumps)
        while pending:
            before = self._progress
            _, pending = await asyncio.wait(pending, timeout=_LAST_OUTPUT_SECONDS)
            if pending and self._progress == before and not self._arrived.full():
                return

    async def _pump(self, stream: int, descriptor: int) -> None:
        while True:
            try:
                data = os.read(descriptor, _CHUNK)
            except BlockingIOError:
                await _ready(descriptor, writing=False)
                continue
            except OSError as exc:
                # What a terminal says when the other side has closed it.
                if exc.errno == errno.EIO:
                    return
                raise
            if not data:
                return
            self._progress += 1
            await self._arrived.put((stream, data))


async def start_session(
    launch: Launch, child: Child, instance: str, *, command: Sequence[str], tty: bool, stdin: bool
) -> LocalExecSession:
    """Start `command` in the environment and directory of a running instance.

    Raises:
        UnavailableError: the system refused to start it.
    """
    argv = tuple(command)
    if child.tool is not None:
        argv = child.tool.exec_command(instance, command, tty=tty, stdin=stdin)
    own = launch.env if child.tool is None else tool_environment(launch)
    env = {"TERM": "xterm-256color", **own}
    try:
        starter = _with_terminal if tty else _with_pipes
        return await starter(launch, argv, env, stdin)
    except OSError as exc:
        raise UnavailableError(f"the command could not be started: {exc.strerror}") from exc


async def _with_terminal(launch: Launch, argv: tuple[str, ...], env: dict[str, str], stdin: bool) -> LocalExecSession:
    ours, theirs = pty.openpty()
    try:
        os.set_blocking(ours, False)
        _set_size(ours, *_DEFAULT_SIZE)
        shell = (SHELL, "-c", _ON_TERMINAL, "sh", os.ttyname(theirs))
        process = await _spawn(launch, (*shell, *argv), env, stdin=theirs, stdout=theirs, stderr=theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    return LocalExecSession(process, _Ends({STDOUT: ours}, ours if stdin else None, terminal=True))


async def _with_pipes(launch: Launch, argv: tuple[str, ...], env: dict[str, str], stdin: bool) -> LocalExecSession:
    with contextlib.ExitStack() as theirs, contextlib.ExitStack() as ours:
        out, out_child = _pipe(ours, theirs)
        err, err_child = _pipe(ours, theirs)
        in_child, into = _pipe(theirs, ours) if stdin else (asyncio.subprocess.DEVNULL, None)
        for descriptor in (out, err, into):
            if descriptor is not None:
                os.set_blocking(descriptor, False)
        shell = (SHELL, "-c", _PLAIN, "sh")
        process = await _spawn(launch, (*shell, *argv), env, stdin=in_child, stdout=out_child, stderr=err_child)
        ours.pop_all()
    return LocalExecSession(process, _Ends({STDOUT: out, STDERR: err}, into, terminal=False))


async def _spawn(
    launch: Launch, argv: tuple[str, ...], env: dict[str, str], *, stdin: int, stdout: int, stderr: int
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *argv, env=env, cwd=launch.cwd, stdin=stdin, stdout=stdout, stderr=stderr, start_new_session=True
    )


def _pipe(readers: contextlib.ExitStack, writers: contextlib.ExitStack) -> tuple[int, int]:
    read_end, write_end = os.pipe()
    readers.callback(os.close, read_end)
    writers.callback(os.close, write_end)
    return read_end, write_end


def _set_size(descriptor: int, height: int, width: int) -> None:
    rows, columns = max(1, min(height, 1000)), max(1, min(width, 1000))
    with contextlib.suppress(OSError):
        fcntl.ioctl(descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


async def _ready(descriptor: int, *, writing: bool) -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if writing else (loop.add_reader, loop.remove_reader)
    add(descriptor, event.set)
    try:
        await event.wait()
    finally:
        remove(descriptor)
