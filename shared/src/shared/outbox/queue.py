"""The SQL of the relay: claim, renew, settle and tidy rows of the outbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Table, text
from sqlalchemy.ext.asyncio import AsyncSession

from shared.db.database import Database
from shared.outbox.tables import PENDING

LEASE_SECONDS: Final = 10

# Walks from subject to subject along the index of pending rows, so that a long backlog of few subjects costs little.
# Only the first pending row of a subject may be claimed: that is what keeps a subject in order among several relays.
_CLAIM: Final = f"""
WITH RECURSIVE heads AS (
    (SELECT subject, seq FROM outbox WHERE {PENDING} ORDER BY subject, seq LIMIT 1)
    UNION ALL
    SELECT next.subject, next.seq FROM heads CROSS JOIN LATERAL (
        SELECT subject, seq FROM outbox WHERE {PENDING} AND subject > heads.subject ORDER BY subject, seq LIMIT 1
    ) AS next
), claimed AS (
    SELECT o.seq FROM outbox AS o JOIN heads ON heads.seq = o.seq
    WHERE o.published_at IS NULL AND o.dead_at IS NULL
      AND (o.leased_until IS NULL OR o.leased_until < clock_timestamp()
           OR (o.lease_owner = :owner AND o.seq <> ALL(CAST(:busy AS bigint[]))))
      AND (o.next_attempt_at IS NULL OR o.next_attempt_at <= :now)
    ORDER BY o.seq LIMIT :limit
    FOR UPDATE OF o SKIP LOCKED
)
UPDATE outbox SET lease_owner = :owner, leased_until = clock_timestamp() + make_interval(secs => {LEASE_SECONDS})
FROM claimed WHERE outbox.seq = claimed.seq
RETURNING outbox.seq, outbox.attempts, outbox.envelope
"""  # noqa: S608  constants of this module only

_RENEW: Final = f"""
UPDATE outbox SET leased_until = clock_timestamp() + make_interval(secs => {LEASE_SECONDS})
WHERE lease_owner = :owner AND seq = ANY(:seqs)
"""  # noqa: S608

_RELEASE: Final = f"""
UPDATE outbox SET lease_owner = NULL, leased_until = NULL WHERE lease_owner = :owner AND {PENDING}
"""  # noqa: S608

_PUBLISHED: Final = """
UPDATE outbox SET published_at = clock_timestamp(), lease_owner = NULL, leased_until = NULL, last_error = NULL
WHERE seq = :seq AND lease_owner = :owner
"""

_FAILED: Final = """
UPDATE outbox SET attempts = attempts + 1, last_error = :error, next_attempt_at = :again,
    dead_at = CASE WHEN :dead THEN clock_timestamp() END, lease_owner = NULL, leased_until = NULL
WHERE seq = :seq AND lease_owner = :owner
"""

_REPLAY: Final = """
WITH revived AS (
    UPDATE outbox SET dead_at = NULL, attempts = 0, next_attempt_at = NULL WHERE dead_at IS NOT NULL RETURNING seq
)
SELECT count(*), pg_notify('outbox', '') FROM revived
"""


@dataclass(frozen=True)
class Claimed:
    """A row that this relay may publish until its lease ends. `attempts` counts the failures so far."""

    seq: int
    attempts: int
    envelope: Mapping[str, Any]


class OutboxQueue:
    """The outbox as the queue of one relay, named by `owner`."""

    def __init__(self, database: Database, table: Table, *, owner: UUID) -> None:
        if table.name != "outbox":
            raise ValueError(f"the relay works on the table outbox, not on {table.name}")
        self._database = database
        self._owner = owner

    async def claim(self, *, now: datetime, limit: int, busy: Sequence[int] = ()) -> list[Claimed]:
        """Lease up to `limit` rows, at most one of a subject, the oldest first. `busy` are those in the works: another
        row that this relay has leased comes from a claim whose answer was lost, and need not wait for its lease's end.
        """
        values = {"now": now, "limit": limit, "owner": self._owner, "busy": list(busy)}
        async with self._database.transaction() as session:
            rows = await session.execute(text(_CLAIM), values)
            claimed = [Claimed(seq, attempts, envelope) for seq, attempts, envelope in rows]
        return sorted(claimed, key=lambda each: each.seq)

    async def renew(self, seqs: list[int]) -> None:
        """Extend the leases of the rows that are in the works; a lease that nobody knows of runs out."""
        await self._execute(_RENEW, owner=self._owner, seqs=seqs)

    async def release(self) -> None:
        """Give up the leases of this relay, so that another need not wait for their end."""
        await self._execute(_RELEASE, owner=self._owner)

    async def mark_published(self, row: Claimed) -> None:
        """Settle a row, unless the lease was lost meanwhile."""
        await self._execute(_PUBLISHED, seq=row.seq, owner=self._owner)

    async def mark_failed(self, row: Claimed, *, error: str, again: datetime | None) -> None:
        """Count a failure; try again at `again`, or never (the row is dead) when that is None."""
        values = {"error": error, "again": again, "dead": again is None, "seq": row.seq, "owner": self._owner}
        await self._execute(_FAILED, **values)

    async def replay_dead(self) -> int:
        """Make every dead row pending again; returns how many there were."""
        async with self._database.transaction() as session:
            return int((await session.execute(text(_REPLAY))).one()[0])

    async def delete_published(self, *, older_than: timedelta) -> None:
        """Delete rows that were published longer ago than `older_than`."""
        statement = "DELETE FROM outbox WHERE published_at < clock_timestamp() - CAST(:age AS interval)"
        await self._execute(statement, age=older_than)

    async def delete_handled(self, *, older_than: timedelta) -> None:
        """Delete what the inbox, if there is one, knows of events handled longer ago than `older_than`."""
        async with self._database.transaction() as session:
            if await _has_inbox(session):
                statement = "DELETE FROM inbox WHERE received_at < clock_timestamp() - CAST(:age AS interval)"
                await session.execute(text(statement), {"age": older_than})

    async def _execute(self, statement: str, **values: object) -> None:
        async with self._database.transaction() as session:
            await session.execute(text(statement), values)


async def _has_inbox(session: AsyncSession) -> bool:
    return bool((await session.execute(text("SELECT to_regclass('inbox') IS NOT NULL"))).scalar_one())
