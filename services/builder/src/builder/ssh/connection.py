"""One SSH connection: its place among the unauthenticated ones, the keys that it offers, its sessions."""

from __future__ import annotations

from collections.abc import Callable

import asyncssh

from builder.domain.errors import ControllerUnavailableError
from builder.metrics import LOGINS_REFUSED
from builder.services.accounts import AccountCache
from builder.services.controller import Account
from builder.ssh.limits import LoginLimits
from builder.ssh.session import GitSession
from shared.logging import get_logger

log = get_logger(__name__)

SessionFactory = Callable[[Account], GitSession]


class Connection(asyncssh.SSHServer):
    """Public keys only; the user name is ignored, as clients use `git`."""

    def __init__(
        self,
        *,
        accounts: AccountCache,
        limits: LoginLimits,
        max_keys: int,
        new_session: SessionFactory,
        connections: set[asyncssh.SSHServerConnection],
    ) -> None:
        self._accounts = accounts
        self._limits = limits
        self._max_keys = max_keys
        self._new_session = new_session
        self._connections = connections
        self._connection: asyncssh.SSHServerConnection | None = None
        self._address = ""
        self._is_counted = False
        self._fingerprints: set[str] = set()
        self._account: Account | None = None

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._connection = conn
        self._connections.add(conn)
        self._address = str(conn.get_extra_info("peername", ("?",))[0])
        self._is_counted = self._limits.enter(self._address)
        if not self._is_counted:
            LOGINS_REFUSED.labels("connections").inc()
            log.warning("ssh_connection_refused", address=self._address, reason="too many without a login")
            conn.abort()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._leave()
        if self._connection is not None:
            self._connections.discard(self._connection)

    def auth_completed(self) -> None:
        self._leave()

    def begin_auth(self, _username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    async def validate_public_key(self, _username: str, key: asyncssh.SSHKey) -> bool:
        """Whether the key is registered; asked twice for each key that is (RFC 4252 section 7)."""
        fingerprint = key.get_fingerprint("sha256")
        self._fingerprints.add(fingerprint)
        if len(self._fingerprints) > self._max_keys:
            LOGINS_REFUSED.labels("keys").inc()
            raise asyncssh.DisconnectError(
                asyncssh.DISC_NO_MORE_AUTH_METHODS_AVAILABLE,
                f"More than {self._max_keys} keys were offered; choose one with `IdentitiesOnly yes`",
            )
        try:
            self._account = await self._accounts.find(fingerprint)
        except ControllerUnavailableError as exc:
            LOGINS_REFUSED.labels("controller").inc()
            # Said as a disconnect: a plain denial would send people looking for a fault in their keys.
            raise asyncssh.DisconnectError(asyncssh.DISC_SERVICE_NOT_AVAILABLE, exc.detail) from exc
        if self._account is None:
            LOGINS_REFUSED.labels("unknown").inc()
            log.info("ssh_key_unknown", address=self._address, fingerprint=fingerprint)
        return self._account is not None

    def session_requested(self) -> GitSession | bool:
        return self._new_session(self._account) if self._account is not None else False

    def _leave(self) -> None:
        if self._is_counted:
            self._is_counted = False
            self._limits.leave(self._address)
