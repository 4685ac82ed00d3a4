"""How long to wait before something that failed is tried again."""

from __future__ import annotations

from datetime import timedelta


def doubled(first: timedelta, times: int, longest: timedelta) -> timedelta:
    """The pause after failure number `times` (1-based): `first`, twice as long each time, `longest` at most."""
    return min(longest, first * (1 << min(times - 1, 20)))
