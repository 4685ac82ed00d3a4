"""Who may come in: counts of connections, and addresses that failed to log in too often."""

from __future__ import annotations

import ipaddress
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from builder.metrics import LOGINS_REFUSED
from builder.services.limits import Tally
from builder.settings import Settings

RESTARTING = "The builder is being restarted; push again in a moment"
# A network's usual share of IPv6, in which one machine may take any address (RFC 6177 section 2).
_IPV6_PREFIX = 64
_MAX_REMEMBERED = 10_000


def group_of(address: str) -> str:
    """What limits count as one address: an IPv4 address, or the /64 that an IPv6 address is in."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped is not None:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip, _IPV6_PREFIX), strict=False))


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


@dataclass
class _Record:
    failures: deque[float] = field(default_factory=deque)
    banned_until: float = 0.0


class FailedLogins:
    """Bans an address for `ban_seconds` once it has failed `limit` times within `window_seconds`; 0 never bans.

    A login that succeeds clears the address: many people may share one. `now` is a monotonic time in seconds. The
    addresses that were heard of longest ago are forgotten first, so that memory stays bounded.
    """

    def __init__(self, *, limit: int, window_seconds: float, ban_seconds: float, now: Callable[[], float]) -> None:
        self._limit = limit
        self._window, self._ban = window_seconds, ban_seconds
        self._now = now
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def failed(self, address: str) -> None:
        """A connection from there tried to log in and did not."""
        if not self._limit:
            return
        now = self._now()
        record = self._records.setdefault(address, _Record())
        self._records.move_to_end(address)
        record.failures.append(now)
        while record.failures[0] <= now - self._window:
            record.failures.popleft()
        if len(record.failures) >= self._limit:
            record.failures.clear()
            record.banned_until = now + self._ban
        if len(self._records) > _MAX_REMEMBERED:
            self._records.popitem(last=False)

    def succeeded(self, address: str) -> None:
        """Somebody from there has logged in."""
        self._records.pop(address, None)

    def banned_seconds(self, address: str) -> int:
        """For how long nobody from there may try; 0 when they may."""
        record = self._records.get(address)
        return 0 if record is None else max(0, math.ceil(record.banned_until - self._now()))


class Door:
    """What all connections share: counters, and whether new ones are let in at all."""

    def __init__(self, settings: Settings, *, now: Callable[[], float]) -> None:
        self.logins = LoginLimits(
            total=settings.ssh_max_unauthenticated, per_address=settings.ssh_max_unauthenticated_per_address
        )
        self.failures = FailedLogins(
            limit=settings.ssh_failed_logins,
            window_seconds=settings.ssh_failed_logins_window.total_seconds(),
            ban_seconds=settings.ssh_failed_logins_ban.total_seconds(),
            now=now,
        )
        self.keys = Tally(settings.ssh_max_connections_per_key)
        self.is_restarting = False
        self._total = settings.ssh_max_connections
        self._addresses = Tally(settings.ssh_max_connections_per_address)

    def enter(self, address: str) -> str | None:
        """Count a connection in; a sentence for its client when it is not let in, and nothing is counted then."""
        if seconds := self.failures.banned_seconds(address):
            LOGINS_REFUSED.labels("banned").inc()
            return f"Too many failed logins from your address; try again in {seconds} s"
        if self._addresses.total() >= self._total:
            LOGINS_REFUSED.labels("connections").inc()
            return "The builder has as many connections as it may have; try again in a moment"
        if not self._addresses.enter(address):
            LOGINS_REFUSED.labels("address").inc()
            return f"Too many connections from your address at once ({self._addresses.limit}); close some of them"
        return None

    def leave(self, address: str) -> None:
        """One that was let in is gone."""
        self._addresses.leave(address)
