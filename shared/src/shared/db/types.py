"""Column types, constraint names and identifiers that all our tables share."""

from __future__ import annotations

import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from sqlalchemy import DateTime
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

# Names that PostgreSQL would choose differ between versions; migrations need names that stay.
NAMING_CONVENTION: Final[dict[str, str]] = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class UtcDateTime(TypeDecorator[datetime]):
    """`timestamptz` that takes aware datetimes only and gives them back in UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:
            raise ValueError("a datetime without a time zone cannot be stored")
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, _dialect: Dialect) -> datetime | None:
        return value if value is None or value.tzinfo is UTC else value.astimezone(UTC)


class _Uuid7Source:
    """RFC 9562 version 7 with twelve bits of sub-millisecond time (its section 6.2, method 3), strictly growing."""

    def __init__(self) -> None:
        self._last = 0
        self._lock = threading.Lock()

    def next(self) -> UUID:
        millis, nanos = divmod(time.time_ns(), 1_000_000)
        stamp = (millis << 12) | (nanos * 4096 // 1_000_000)
        with self._lock:
            self._last = stamp = max(stamp, self._last + 1)
        high = (stamp >> 12) << 16 | 0x7000 | (stamp & 0xFFF)
        low = 0b10 << 62 | secrets.randbits(62)
        return UUID(int=high << 64 | low)


_source = _Uuid7Source()


def uuid7() -> UUID:
    """A time-ordered UUID; within one process each is greater than the one before."""
    return _source.next()
