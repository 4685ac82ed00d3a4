"""Counts connections that have not logged in yet, so that strangers cannot use up the server."""

from __future__ import annotations

from collections import Counter


class LoginLimits:
    """At most `total` connections without a login, and at most `per_address` from one address."""

    def __init__(self, *, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a new connection in; False when there are too many and it must be closed."""
        if self._open.total() >= self._total or self._open[address] >= self._per_address:
            return False
        self._open[address] += 1
        return True

    def leave(self, address: str) -> None:
        """One that was let in has logged in or is gone."""
        self._open[address] -= 1
        if self._open[address] <= 0:
            del self._open[address]
