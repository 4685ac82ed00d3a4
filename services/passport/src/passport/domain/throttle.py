"""Token buckets: a number of attempts at once, then one more per interval."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Limit:
    """`burst` attempts at once, then one per `interval`."""

    burst: int
    interval: timedelta


@dataclass(frozen=True)
class Bucket:
    """How many attempts were left at an instant."""

    level: float
    measured_at: datetime

    def at(self, now: datetime, limit: Limit) -> Bucket:
        """The bucket as it has filled up since; a clock that went backwards adds nothing."""
        passed = max(timedelta(0), now - self.measured_at)
        return Bucket(min(float(limit.burst), self.level + passed / limit.interval), now)

    def take(self) -> Bucket | None:
        """One attempt less, or None when there is none."""
        return Bucket(self.level - 1.0, self.measured_at) if self.level >= 1.0 else None

    def put_back(self, limit: Limit) -> Bucket:
        """One attempt more: it was no failure."""
        return Bucket(min(float(limit.burst), self.level + 1.0), self.measured_at)

    def wait(self, limit: Limit) -> timedelta:
        """How long until there is an attempt."""
        return max(timedelta(0), (1.0 - self.level) * limit.interval)


def address_group(address: str) -> str:
    """What counts as one address: an IPv4 address, or the /64 that one subscriber of IPv6 has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
