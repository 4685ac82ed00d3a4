"""One SSH connection: whether it is let in, the keys that it offers, its sessions."""

from __future__ import annotations

from collections.abc import Callable

import asyncssh

from builder.domain.errors import ControllerUnavailableError
from builder.metrics import LOGINS_REFUSED
from builder.services.accounts import AccountCache
from builder.services.controller import Fingerprints
from builder.services.limits import Caller
from builder.ssh.channel import GitChannel
from builder.ssh.ciphers import prefer_gcm
from builder.ssh.limits import RESTARTING, Door, group_of
from builder.ssh.session import GitSession
from shared.logging import get_logger

log = get_logger(__name__)

SessionFactory = Callable[[Caller], GitSession]
# Answers that a client has not read yet, beyond which it is not read either.
ANSWER_BYTES = 1024 * 1024
# As OpenSSH's MaxSessions: enough for those who share one connection (ControlMaster).
MAX_SESSIONS = 10


class Connection(asyncssh.SSHServer):
    """Public keys only; the user name is ignored, as clients use `git`.

    Who is not let in is told why at the first step of the login: clients show nothing that comes before.
    """

    def __init__(
        self,
        *,
        accounts: AccountCache,
        door: Door,
        max_keys: int,
        prefers_aes: bool,
        new_session: SessionFactory,
        connections: set[Connection],
    ) -> None:
        self._accounts = accounts
        self._door = door
        self._max_keys = max_keys
        self._prefers_aes = prefers_aes
        self._new_session = new_session
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None
        self._address = ""
        self._refusal: str | None = None
        self._is_logging_in = self._is_inside = self._has_failed = False
        self._counted_key: str | None = None
        self._fingerprints: set[str] = set()
        self._caller: Caller | None = None
        self._sessions: list[GitSession] = []
        self.has_served = False

    async def wait_closed(self) -> None:
        """Return when the client has gone."""
        if self._connection is not None:
            await self._connection.wait_closed()

    def close(self) -> None:
        """End the connection now."""
        if self._connection is not None:
            self._connection.close()

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(self)
        _bound_answers(conn)
        if self._prefers_aes:
            prefer_gcm(conn)
        # None: it was gone before we looked, as port probes are.
        self._address = group_of(str((conn.get_extra_info("peername") or ("?",))[0]))
        self._is_logging_in = self._door.logins.enter(self._address)
        if not self._is_logging_in:
            LOGINS_REFUSED.labels("unauthenticated").inc()
            log.warning("ssh_connection_refused", address=self._address, reason="too many without a login")
            conn.abort()
            return
        self._refusal = self._door.enter(self._address)
        self._is_inside = self._refusal is None
        if self._refusal is not None:
            log.warning("ssh_connection_refused", address=self._address, reason=self._refusal)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._logged_in_or_gone()
        if self._has_failed:
            self._door.failures.failed(self._address)
        if self._is_inside:
            self._door.leave(self._address)
        if self._counted_key is not None:
            self._door.keys.leave(self._counted_key)
        self._connections.discard(self)

    def begin_auth(self, _username: str) -> bool:
        reason = RESTARTING if self._door.is_restarting else self._refusal
        if reason is not None:
            raise asyncssh.DisconnectError(asyncssh.DISC_TOO_MANY_CONNECTIONS, reason)
        self._has_failed = True  # until it succeeds
        return True

    def auth_completed(self) -> None:
        self._logged_in_or_gone()
        self._has_failed = False
        self._door.failures.succeeded(self._address)
        if self._caller is None:
            return
        if not self._door.keys.enter(self._caller.fingerprint):
            LOGINS_REFUSED.labels("key").inc()
            log.warning("ssh_connection_refused", address=self._address, actor=self._caller.username, reason="key")
            raise asyncssh.DisconnectError(
                asyncssh.DISC_TOO_MANY_CONNECTIONS,
                f"Too many connections with your key at once ({self._door.keys.limit}); close some of them",
            )
        self._counted_key = self._caller.fingerprint

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, _username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key is registered; asked twice for each key that is (RFC 4252 section 7)."""
        fingerprints = _fingerprints(key)
        self._fingerprints.add(fingerprints.sha256)
        if len(self._fingerprints) > self._max_keys:
            LOGINS_REFUSED.labels("keys").inc()
            raise asyncssh.DisconnectError(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
                f"More than {self._max_keys} keys were offered; choose one with `IdentitiesOnly yes`",
            )
        self._caller = None
        try:
            account = await self._accounts.find(fingerprints)
        except ControllerUnavailableError as exc:
            LOGINS_REFUSED.labels("controller").inc()
            self._has_failed = False  # not for anything that the client did
            # Said as a disconnect: a plain denial would send people looking for a fault in their keys.
            raise asyncssh.DisconnectError(asyncssh.DISC_SERVICE_NOT_AVAILABLE, exc.detail) from exc
        if account is None:
            LOGINS_REFUSED.labels("unknown").inc()
            log.info("ssh_key_unknown", address=self._address, fingerprint=fingerprints.sha256)
            return False
        self._caller = Caller(account.username, fingerprints.sha256, self._address)
        return True

    def session_requested(self) -> tuple[GitChannel, GitSession] | bool:
        if self._caller is None or self._connection is None:
            return False
        self._sessions = [session for session in self._sessions if not session.gone.is_set()]
        if len(self._sessions) >= MAX_SESSIONS:
            raise asyncssh.ChannelOpenError(
                asyncssh.OPEN_RESOURCE_SHORTAGE, f"no more than {MAX_SESSIONS} sessions at once in one connection"
            )
        session = self._new_session(self._caller)
        self._sessions.append(session)
        self.has_served = True
        return GitChannel(self._connection), session

    def _logged_in_or_gone(self) -> None:
        if self._is_logging_in:
            self._is_logging_in = False
            self._door.logins.leave(self._address)


def _bound_answers(connection: asyncssh.SSHServerConnection) -> None:
    """Read a client no faster than it reads our answers; asyncssh, which leaves this open, would keep any number."""
    transport = connection._transport
    if transport is not None:
        transport.set_write_buffer_limits(high=ANSWER_BYTES)
        connection.pause_writing = transport.pause_reading  # type: ignore[method-assign]
        connection.resume_writing = transport.resume_reading  # type: ignore[method-assign]


def _fingerprints(key: asyncssh.SSHKey) -> Fingerprints:
    return Fingerprints(sha256=key.get_fingerprint("sha256"), md5=key.get_fingerprint("md5").removeprefix("MD5:"))
