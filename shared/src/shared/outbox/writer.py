"""Writes events into the outbox."""

from __future__ import annotations

from sqlalchemy import Table

from shared.db.database import notify
from shared.db.deferred import DbSession, defer_rows
from shared.events.base import Envelope, Event


class Outbox:
    """Adds events to the transaction of `session`; they are published if and only if it commits.

    `source` is the CloudEvents source: `/services/controller`.
    """

    def __init__(self, session: DbSession, table: Table, *, source: str) -> None:
        self._session = session
        self._table = table
        self._source = source

    async def add(self, *events: Event) -> None:
        """Store `events` in this order and wake the relay at commit."""
        if not events:
            return
        envelopes = [Envelope.wrap(event, source=self._source) for event in events]
        rows = [
            {
                "event_id": envelope.id,
                "subject": envelope.subject,
                "routing_key": envelope.routing_key,
                "envelope": envelope.model_dump(mode="json", exclude_none=True),
            }
            for envelope in envelopes
        ]
        # At commit, all events of the transaction in one statement: the order of `add` is that of `seq`.
        defer_rows(self._session, self._table, rows)
        await notify(self._session, self._table.name)
