"""One SSH session: reads the command, joins the channel to a process, ends with an exit status."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import asyncssh

from builder.domain.commands import USAGE, Ping, parse_command
from builder.domain.text import refusal
from builder.git.pipe import InputPipe
from builder.git.process import GitProcess
from builder.services.limits import Caller
from builder.services.sessions import GitSessions, error_packet
from builder.ssh.limits import RESTARTING
from builder.tasks import OneShots
from shared.errors import SuiteError
from shared.logging import clear_context, get_logger

log = get_logger(__name__)


class GitSession(asyncssh.SSHServerSession[bytes]):
    """A Client of GitSessions.

    Bytes go from `data_received` straight into git's pipe: measured against asyncssh's `redirect()` this saves a
    quarter of the time of a large push. Everything but `exec` is refused, by the base class or
    here; a shell is accepted only to say that there is none.
    """

    def __init__(
        self, caller: Caller, *, sessions: GitSessions, tasks: OneShots, is_restarting: Callable[[], bool]
    ) -> None:
        self._caller = caller
        self._sessions = sessions
        self._tasks = tasks
        self._is_restarting = is_restarting
        self._command: str | None = None
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._process: GitProcess | None = None
        self.unread_since: float | None = None
        self._input: InputPipe | None = None
        self.gone = asyncio.Event()

    @property
    def input(self) -> InputPipe:
        """The way into the process; there from the moment that the session starts."""
        if self._input is None:
            raise RuntimeError("the session has not started")
        return self._input

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        self._channel = chan

    def pty_requested(
        self, _term_type: str, _term_size: tuple[int, int, int, int], _term_modes: Mapping[int, int]
    ) -> bool:
        return False

    def shell_requested(self) -> bool:
        return True

    def exec_requested(self, command: str) -> bool:
        self._command = command
        return True

    def session_started(self) -> None:
        channel = self._open_channel()
        self._input = InputPipe(pause=channel.pause_reading, resume=channel.resume_reading)
        try:
            self._tasks.spawn(self._run(), name="ssh-session")
        except RuntimeError:  # the server is closing
            self.take(refusal(f"{RESTARTING}.").encode(), is_error=True)
            self._exit(1)

    def data_received(self, data: bytes, _datatype: int | None) -> None:
        if self._input is not None:
            self._input.feed(data)

    def eof_received(self) -> bool:
        # git's client ends its side after the pack and then waits for the report: that is not a hang-up.
        if self._input is not None:
            self._input.finish()
        return True

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone.set()
        if self._input is not None:
            self._input.close()
        self.resume_writing()

    def pause_writing(self) -> None:
        self.unread_since = asyncio.get_running_loop().time()
        if self._process is not None:
            self._process.pause()

    def resume_writing(self) -> None:
        self.unread_since = None
        if self._process is not None:
            self._process.resume()

    def attach(self, process: GitProcess) -> None:
        """See `Client.attach`."""
        self._process = process
        if self.unread_since is not None:
            process.pause()

    def leave(self) -> None:
        """See `Client.leave`."""
        self.gone.set()
        self.resume_writing()
        if self._channel is not None:
            self._channel.abort()

    def take(self, data: bytes, *, is_error: bool) -> None:
        """See `Sink.take`: what a client that has gone would have read is dropped."""
        if self._channel is None or self.gone.is_set():
            return
        with contextlib.suppress(OSError):
            self._channel.write(data, asyncssh.EXTENDED_DATA_STDERR if is_error else None)

    def _open_channel(self) -> asyncssh.SSHServerChannel[bytes]:
        if self._channel is None:
            raise RuntimeError("the session has no channel yet")
        return self._channel

    async def _run(self) -> None:
        clear_context()
        status = 1
        try:
            status = await self._carry_out()
        except SuiteError as error:
            self.take(refusal(error.detail).encode(), is_error=True)
        except asyncio.CancelledError:
            self.take(refusal(f"{RESTARTING}.").encode(), is_error=True)
            raise
        except Exception:
            log.exception("ssh_session_broke")
            self.take(refusal("The builder failed unexpectedly; nothing was changed.").encode(), is_error=True)
        finally:
            self._exit(status)

    async def _carry_out(self) -> int:
        if self._command is None:
            self.take(refusal(f"Hello {self._caller.username}: {USAGE}.").encode(), is_error=True)
            return 1
        command = parse_command(self._command)
        if self._is_restarting():
            is_git = not isinstance(command, Ping)
            told = error_packet(RESTARTING) if is_git else refusal(f"{RESTARTING}.").encode()
            self.take(told, is_error=not is_git)
            return 1
        if isinstance(command, Ping):
            self.take(b"pong\n", is_error=False)
            return 0
        protocol = self._open_channel().get_environment().get("GIT_PROTOCOL")
        return await self._sessions.serve(command, self._caller, self, protocol=protocol)

    def _exit(self, status: int) -> None:
        if self._input is not None:
            self._input.close()
        if self._channel is not None and not self.gone.is_set():
            self._channel.exit(status)
