"""The SSH server: algorithms, host keys, limits and its life."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence

import asyncssh

from builder.services.accounts import AccountCache
from builder.services.limits import Caller
from builder.services.sessions import GitSessions
from builder.settings import Settings
from builder.ssh.channel import PACKET_BYTES, WINDOW_BYTES
from builder.ssh.ciphers import offered
from builder.ssh.connection import Connection
from builder.ssh.hostkeys import load_host_keys
from builder.ssh.limits import Door
from builder.ssh.session import GitSession
from builder.tasks import OneShots
from shared.errors import UnavailableError
from shared.logging import get_logger
from shared.settings import SettingsError

log = get_logger(__name__)

CLOSE_SECONDS = 5.0
LEAVE_SECONDS = 2.0


class SshServer:
    """Listens between `start` and `close`."""

    def __init__(self, settings: Settings, *, sessions: GitSessions, accounts: AccountCache) -> None:
        self._settings = settings
        self.sessions = sessions
        self._accounts = accounts
        self._door = Door(settings, now=time.monotonic)
        self._connections: set[Connection] = set()
        self._tasks = OneShots()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def port(self) -> int:
        """The port that is listened on, also when settings left the choice to the system."""
        if self._acceptor is None:
            raise UnavailableError("the SSH server is not running")
        return self._acceptor.get_port()

    async def start(self) -> None:
        """Listen.

        Raises:
            SettingsError: the address is in use, or the host keys cannot be kept.
        """
        settings = self._settings
        keys = await asyncio.to_thread(load_host_keys, settings.host_key_dir)
        try:
            self._acceptor = await self._listen(keys)
        except OSError as exc:
            where = f"{settings.ssh_host}:{settings.ssh_port}"
            raise SettingsError(f"BUILDER_SSH_PORT: cannot listen on {where}: {_words(exc)}") from exc
        log.info("ssh_listening", host=settings.ssh_host, port=self.port)

    async def _listen(self, keys: Sequence[asyncssh.SSHKey]) -> asyncssh.SSHAcceptor:
        settings = self._settings
        return await asyncssh.listen(
            settings.ssh_host,
            settings.ssh_port,
            server_factory=self._new_connection,
            server_host_keys=keys,
            config=None,
            encryption_algs=offered(prefers_aes=settings.ssh_prefer_aes),
            compression_algs=None,
            window=WINDOW_BYTES,
            max_pktsize=PACKET_BYTES,
            encoding=None,
            line_editor=False,
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            password_auth=False,
            kbdint_auth=False,
            host_based_auth=False,
            gss_auth=False,
            gss_kex=False,
            login_timeout=settings.ssh_login_timeout.total_seconds(),
            keepalive_interval=settings.ssh_keepalive_interval.total_seconds(),
            keepalive_count_max=settings.ssh_keepalive_count,
        )

    async def check(self) -> None:
        """Return when it listens; UnavailableError otherwise."""
        _ = self.port

    def stop_accepting(self) -> None:
        """Take no new connections."""
        if self._acceptor is not None:
            self._acceptor.close()

    async def drain(self) -> None:
        """Wait for the commands under way, at most the time that settings give; new ones are told to come back.

        The port stays open meanwhile: who is refused there without a word looks for the fault elsewhere.
        """
        self._door.is_restarting = True
        await self._tasks.drain(seconds=self._settings.drain_seconds)

    async def close(self) -> None:
        """Let running sessions say their last words, end them, and close all connections."""
        self.stop_accepting()
        await self._tasks.drain(seconds=CLOSE_SECONDS)
        await self._tasks.close()
        # A client that has just read its exit status leaves by itself; told to leave before that, it reports a failure.
        leaving = [asyncio.create_task(client.wait_closed()) for client in self._connections if client.has_served]
        if leaving:
            await asyncio.wait(leaving, timeout=LEAVE_SECONDS)
        connections = list(self._connections)
        for connection in connections:
            connection.close()
        for connection in connections:
            await connection.wait_closed()
        await asyncio.gather(*leaving)
        if self._acceptor is not None:
            await self._acceptor.wait_closed()
            self._acceptor = None

    def _new_connection(self) -> Connection:
        return Connection(
            accounts=self._accounts,
            door=self._door,
            max_keys=self._settings.ssh_max_keys,
            prefers_aes=self._settings.ssh_prefer_aes,
            new_session=self._new_session,
            connections=self._connections,
        )

    def _new_session(self, caller: Caller) -> GitSession:
        return GitSession(
            caller, sessions=self.sessions, tasks=self._tasks, is_restarting=lambda: self._door.is_restarting
        )


def _words(exc: OSError) -> str:
    """The system's: event loops put their own in their place."""
    if exc.errno is not None and exc.errno > 0:  # else of a name that leads nowhere
        return os.strerror(exc.errno)
    return exc.strerror or str(exc)
