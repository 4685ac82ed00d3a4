"""Work that a transaction does once, right before its commit, however often it was asked for meanwhile.

Notifications and events of the outbox are such: gathered, they cost one statement instead of one each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

from sqlalchemy import ARRAY, Insert, Table, Text, bindparam, event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession
from sqlalchemy.orm import Session

DbSession: TypeAlias = AsyncSession | AsyncConnection
"""What statements are executed on: a session, or a connection that only reads. Both take the same ones."""

_CHANNELS: Final = "workflow.channels"
_ROWS: Final = "workflow.rows"
_NOTIFY: Final = select(
    func.pg_notify(func.unnest(bindparam("channels", type_=ARRAY(Text))), bindparam("payload", type_=Text))
)


@cache
def _insert_into(table: Table) -> Insert:
    # One statement whatever the number of rows: a VALUES list of each length would be compiled and planned by itself.
    return insert(table)


class DeferringSession(Session):
    """The session behind our asynchronous ones. What is deferred inside a savepoint stays when that is rolled back."""


def defer_notification(session: DbSession, channel: str) -> None:
    """Notify `channel` when the transaction commits."""
    _of_transaction(session).setdefault(_CHANNELS, {})[channel] = None


def defer_rows(session: DbSession, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert `rows`, after those that were given before, when the transaction commits."""
    _of_transaction(session).setdefault(_ROWS, {}).setdefault(table, []).extend(rows)


def _of_transaction(session: DbSession) -> dict[Any, Any]:
    if isinstance(session, AsyncConnection):
        raise TypeError("this unit of work only reads: nothing of it is ever committed")
    return session.info


@event.listens_for(DeferringSession, "before_commit")
def _do(session: Session) -> None:
    for table, rows in session.info.pop(_ROWS, {}).items():
        session.execute(_insert_into(table), rows)
    channels = session.info.pop(_CHANNELS, None)
    if channels:
        session.execute(_NOTIFY, {"channels": list(channels), "payload": ""})


@event.listens_for(DeferringSession, "after_rollback")
def _forget(session: Session) -> None:
    session.info.pop(_ROWS, None)
    session.info.pop(_CHANNELS, None)
