"""Which ciphers clients are offered."""

from __future__ import annotations

import re
from typing import Final

import asyncssh

GCM: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com")
# For clients that have nothing better.
CTR: Final = ("aes256-ctr", "aes192-ctr", "aes128-ctr")
CHACHA: Final = "chacha20-poly1305@openssh.com"
_GCM_NAMES: Final = [name.encode() for name in GCM]
# OpenSSH has AES-GCM since 6.2.
_OPENSSH = re.compile(rb"SSH-2\.0-OpenSSH(?:_for_Windows)?_(\d{1,3})\.(\d{1,3})")


def offered(*, prefers_aes: bool) -> list[str]:
    """What is offered to clients of which nothing more is known."""
    return [*GCM, *CTR] if prefers_aes else [*GCM, *CTR, CHACHA]


def prefer_gcm(connection: asyncssh.SSHServerConnection) -> None:
    """Offer a client that is known to have it AES-GCM and nothing else.

    The client's order decides (RFC 4253 section 7.1). OpenSSH's had ChaCha20 first and the counter modes before GCM for
    many years, although GCM is the fastest by far where processors have AES instructions, and needs no separate MAC.
    """
    send = connection._send_kexinit

    def send_narrowed() -> None:
        if has_gcm(connection._client_version):
            connection._enc_algs = _GCM_NAMES
        send()

    connection._send_kexinit = send_narrowed  # type: ignore[method-assign]


def has_gcm(client_version: bytes) -> bool:
    """Whether a client of that name (`SSH-2.0-...`) surely has AES-GCM."""
    found = _OPENSSH.match(client_version)
    return found is not None and (int(found[1]), int(found[2])) >= (6, 2)
