"""Commands beside the process of an instance, over WebSockets of the API server (kubernetes.md 2.8, weakness 44).

When a connection ends, the container runtime leaves the command running (kubernetes/kubernetes issue 89031), and when
one begins, nothing says whether it started. So a shell tells us its process id and then becomes the command. An image
without a shell still works: its commands are left to end by themselves.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.exec_channels import PROTOCOLS, STDERR, STDOUT, Channels, Piece
from controller.engine.kubernetes.kinds import POD
from controller.engine.port import NotSupportedError
from controller.engine.shell import SHELL
from shared.errors import NotFoundError, UnavailableError
from shared.kubernetes.errors import ClusterError, ClusterInvalidError, ClusterNotFoundError
from shared.logging import get_logger

START_SECONDS: Final = 15.0
"""How long a command may take until it has started."""
_SIGNAL_SECONDS: Final = 3.0
_END_SECONDS: Final = 1.0
_END_OF_INPUT: Final = b"\x04"
_WRAPPED: Final = 'echo "$$"; exec "$@"'
# A command leads a session and a group of its own; both forms for runtimes where it does not.
_SIGNAL: Final = 'p=$1; shift; for s do kill -s "$s" -- "-$p" || kill -s "$s" "$p"; done 2>/dev/null'
_PID: Final = re.compile(rb"(\d{1,10})\r?\n")
_LONGEST_PID: Final = 12
log = get_logger(__name__)


@dataclass(frozen=True)
class Target:
    """A container in which commands can be run."""

    client: Client
    namespace: str
    pod: str
    container: str

    async def open(self, command: Sequence[str], *, tty: bool, stdin: bool) -> Channels:
        """Start a command.

        Raises:
            NotFoundError: there is no such pod or container. ClusterError: the API server does not do it.
        """
        wanted = {"stdin": stdin, "stdout": True, "stderr": not tty, "tty": tty}
        query = [("container", self.container), *((name, "true") for name, is_wanted in wanted.items() if is_wanted)]
        query += [("command", word) for word in command]
        path = POD.path(POD.versions[0], self.namespace, self.pod, "exec")
        action = f"run a command in {self.namespace}/{self.pod}"
        try:
            # Without heartbeats: a command that does not read its input keeps the answers to them from coming.
            socket = await self.client.websocket(action, path, query=query, protocols=PROTOCOLS, heartbeat=None)
        except (ClusterNotFoundError, ClusterInvalidError):
            raise self.not_running() from None
        if socket.protocol not in PROTOCOLS:
            await socket.close()
            raise UnavailableError(f"Could not {action}: the cluster speaks none of {', '.join(PROTOCOLS)}")
        return Channels(socket)

    def not_running(self) -> NotFoundError:
        """What to say when it does not run."""
        return NotFoundError(f"{self.pod} does not run; see `drycc ps` for what does")


class PodExecSession:
    """Implements `port.ExecSession`; an empty `write` ends the input."""

    def __init__(self, target: Target, channels: Channels, pid: str | None, *, tty: bool, stdin: bool) -> None:
        self._target = target
        self._channels = channels
        self._pid = pid
        self._tty = tty
        self._stdin = stdin
        self._is_closed = False

    async def read(self) -> tuple[int, bytes] | None:
        """See `ExecSession.read`."""
        return await self._channels.read()

    async def write(self, data: bytes) -> None:
        """See `ExecSession.write`; waits while the command does not read. An empty one is `end_input`."""
        if not data:
            await self.end_input()
        elif self._stdin:
            await self._channels.write(data)

    async def end_input(self) -> None:
        """There is no more input; on a terminal that is Ctrl-D.

        Raises:
            NotSupportedError: the cluster is older than Kubernetes 1.30.
        """
        if not self._stdin or self._channels.outcome is not None:
            return
        if self._tty:
            await self._channels.write(_END_OF_INPUT)
        elif self._channels.can_close_input:
            await self._channels.close_input()
            self._stdin = False
        else:
            raise NotSupportedError("the cluster cannot tell a command that its input has ended: Kubernetes 1.30 can")

    async def resize(self, *, height: int, width: int) -> None:
        """See `ExecSession.resize`."""
        if self._tty:
            await self._channels.resize(height=height, width=width)

    async def wait(self) -> int:
        """See `ExecSession.wait`; 255 when the connection was lost. Output that nobody reads holds up the end."""
        return (await self._channels.wait()).exit_code

    async def close(self) -> None:
        """See `ExecSession.close`: SIGHUP and SIGTERM, and SIGKILL a second later."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            outcome = self._channels.outcome
            if self._pid is not None and (outcome is None or outcome.kind == "lost"):
                await self._end(self._pid)
        finally:
            await self._channels.close()

    async def _end(self, pid: str) -> None:
        for signals in (("HUP", "TERM", "CONT"), ("KILL",)):
            await self._signal(pid, signals)
            if await self._channels.ends_within(_END_SECONDS):
                return
        log.warning("exec_not_ended", namespace=self._target.namespace, pod=self._target.pod)

    async def _signal(self, pid: str, signals: Sequence[str]) -> None:
        try:
            async with asyncio.timeout(_SIGNAL_SECONDS):
                command = (SHELL, "-c", _SIGNAL, "sh", pid, *signals)
                channels = await self._target.open(command, tty=False, stdin=False)
                try:
                    await channels.wait()
                finally:
                    await channels.close()
        except (ClusterError, NotFoundError, UnavailableError, TimeoutError) as exc:
            log.info("exec_signal_failed", pod=self._target.pod, error=str(exc) or "it took too long")


async def open_exec(
    client: Client, namespace: str, pod: str, container: str, *, command: Sequence[str], tty: bool, stdin: bool
) -> PodExecSession:
    """Start `command` in a running container, in its environment and directory.

    A command that is not there ends with 127, one that cannot be run with 126, and stderr says why.

    Raises:
        NotFoundError: no such pod or container runs.
        UnavailableError: the cluster does not start it now.
        ClusterError: the API server does not do it.
    """
    target = Target(client, namespace, pod, container)
    channels = await target.open((SHELL, "-c", _WRAPPED, "sh", *command), tty=tty, stdin=stdin)
    try:
        async with asyncio.timeout(START_SECONDS):
            pid = await _pid_of(channels)
    except TimeoutError:
        await channels.close()
        raise UnavailableError(f"the command in {pod} did not start within {START_SECONDS:g} s; try again") from None
    except BaseException:
        await channels.close()
        raise
    if pid is None and (outcome := channels.outcome) is not None and outcome.kind != "ended":
        await channels.close()
        if outcome.kind == "not-running":
            raise target.not_running()
        if outcome.kind == "lost":
            raise UnavailableError(f"Could not run a command in {namespace}/{pod}: {outcome.message}")
        log.info("exec_without_shell", namespace=namespace, pod=pod)
        channels = await target.open(command, tty=tty, stdin=stdin)
    return PodExecSession(target, channels, pid, tty=tty, stdin=stdin)


async def _pid_of(channels: Channels) -> str | None:
    """The process id that the shell tells first, taken out of the output; None when it tells none."""
    others: list[Piece] = []
    told = b""
    while b"\n" not in told and len(told) < _LONGEST_PID:
        piece = await channels.read()
        if piece is None:
            break
        if piece[0] == STDERR:  # a shell may complain about the locale, for instance
            others.append(piece)
        else:
            told += piece[1]
    found = _PID.match(told)
    rest = told if found is None else told[found.end() :]
    channels.put_back(*others, *(((STDOUT, rest),) if rest else ()))
    return None if found is None else found[1].decode()
