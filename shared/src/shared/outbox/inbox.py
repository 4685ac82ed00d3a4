"""Remembers which events were handled, so that a second delivery has no second effect."""

from __future__ import annotations

from sqlalchemy import Table
from sqlalchemy.dialects.postgresql import insert

from shared.db.deferred import DbSession


class Inbox:
    """Works in the transaction of `session`, the one that holds the effect of the event."""

    def __init__(self, session: DbSession, table: Table) -> None:
        self._session = session
        self._table = table

    async def first_time(self, consumer: str, event_id: str) -> bool:
        """Whether `consumer` has not handled the event; records that it does so now.

        Of two transactions at once, the second waits for the first and then gets the right answer.
        """
        statement = (
            insert(self._table)
            .values(consumer=consumer, event_id=event_id)
            .on_conflict_do_nothing()
            .returning(self._table.c.event_id)
        )
        return (await self._session.execute(statement)).scalar_one_or_none() is not None
