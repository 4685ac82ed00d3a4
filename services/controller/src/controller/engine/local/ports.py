"""Free loopback ports for instances."""

from __future__ import annotations

import errno
import random
import socket

from shared.errors import UnavailableError

# Below the ranges that Linux and macOS give to outgoing connections, so that none of those takes a port between our
# look and the app's bind.
_FIRST, _LAST = 20000, 32000
_TRIES = 200


class Ports:
    """Hands out ports that nobody listens on; one that is lent is not given to a second instance."""

    def __init__(self) -> None:
        self._lent: set[int] = set()
        self._random = random.SystemRandom()

    def lend(self) -> int:
        """A port that is free on every local address now.

        Raises:
            UnavailableError: none was found.
        """
        for _ in range(_TRIES):
            port = self._random.randint(_FIRST, _LAST)
            if port not in self._lent and is_free(port):
                self._lent.add(port)
                return port
        raise UnavailableError("no free port was found on this machine; end some processes")

    def give_back(self, port: int) -> None:
        """The instance is gone."""
        self._lent.discard(port)


def is_free(port: int) -> bool:
    """Whether an app could listen on it, whichever local address it chooses."""
    return all(_can_bind(*place, port) for place in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")))  # noqa: S104


def _can_bind(family: socket.AddressFamily, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as candidate:
            if family == socket.AF_INET6:
                candidate.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            # As servers do it: connections that have just ended must not count as somebody who listens.
            candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            candidate.bind((address, port))
    except OSError as exc:
        return exc.errno in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
    return True
