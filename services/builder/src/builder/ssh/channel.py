"""The SSH channel of a session: keeps of what a client wants to set in the environment only what git needs."""

from __future__ import annotations

import asyncio

import asyncssh
from asyncssh.packet import SSHPacket

# Larger windows cost OpenSSH's client a multiple of its time and gain nothing.
WINDOW_BYTES = 2 * 1024 * 1024
PACKET_BYTES = 32 * 1024
_KEPT = b"GIT_PROTOCOL"
_MAX_VALUE_BYTES = 256


class GitChannel(asyncssh.SSHServerChannel[bytes]):
    """asyncssh's own channel would keep any number of variables of any size, for each channel."""

    def __init__(self, connection: asyncssh.SSHServerConnection) -> None:
        super().__init__(
            connection,
            asyncio.get_running_loop(),
            allow_pty=False,
            line_editor=False,
            line_echo=False,
            line_history=0,
            max_line_length=0,
            encoding=None,
            errors="strict",
            window=WINDOW_BYTES,
            max_pktsize=PACKET_BYTES,
        )

    def _process_env_request(self, packet: SSHPacket) -> bool:
        """RFC 4254 section 6.4; other variables than git's own are refused, which clients do not mind."""
        key, value = packet.get_string(), packet.get_string()
        packet.check_end()
        if key != _KEPT or len(value) > _MAX_VALUE_BYTES:
            return False
        self._env[key] = value
        return True
