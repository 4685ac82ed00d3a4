"""SQL over all that is stored as ciphertext, whichever table it stands in: columns named `sealed_...`, and what
earlier versions stored in clear instead (`schema.base.sealed_instead`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Table, and_, func, select, text, tuple_, update

from controller.schema import accounts, apps, audit, domains, ingress, jobs, measurements, storage
from controller.schema.base import INSTEAD, Base
from shared.db import DbSession

PREFIX: Final = "sealed_"
DECLARING = (accounts, apps, audit, domains, ingress, jobs, measurements, storage)
"""Importing them declares their tables on `Base`."""


@dataclass(frozen=True)
class SealedRow:
    """What one row has of ciphertext, by column, and what it has in clear although it belongs sealed, by the column
    where it should be. `key` are the values of its primary key."""

    key: tuple[Any, ...]
    sealed: Mapping[str, str]
    clear: Mapping[str, Mapping[str, Any]]


class SealedTable:
    """One table that holds ciphertext."""

    def __init__(self, table: Table) -> None:
        self.name = table.name
        self.columns = tuple(column.name for column in table.columns if column.name.startswith(PREFIX))
        self._clear: Mapping[str, Sequence[str]] = {
            name: table.c[name].info[INSTEAD] for name in self.columns if INSTEAD in table.c[name].info
        }
        self._table = table
        self._key: Sequence[Column[Any]] = tuple(table.primary_key.columns)

    async def count(self, session: DbSession) -> int:
        """How many rows there are."""
        return await session.scalar(select(func.count()).select_from(self._table)) or 0

    async def read(self, session: DbSession, *, after: tuple[Any, ...] | None, most: int) -> list[SealedRow]:
        """The rows that follow the one with the key `after`, in order of their keys."""
        clear = [name for names in self._clear.values() for name in names]
        columns = [self._table.c[name] for name in (*self.columns, *clear)]
        query = select(*self._key, *columns).order_by(*self._key).limit(most)
        if after is not None:
            query = query.where(tuple_(*self._key) > after)
        return [self._row(found) for found in await session.execute(query)]

    async def replace(self, session: DbSession, row: SealedRow, renewed: Mapping[str, str]) -> bool:
        """Write other ciphertext into a row, instead of what it has in clear too; False when it is gone or was changed
        since it was read."""
        same = [column == value for column, value in zip(self._key, row.key, strict=True)]
        same += [self._table.c[name] == row.sealed.get(name) for name in renewed]  # null where it stands in clear
        emptied: dict[str, Any] = {name: {} for column in renewed for name in self._clear.get(column, ())}
        changed = update(self._table).where(and_(*same)).values({**renewed, **emptied}).returning(self._key[0])
        return (await session.execute(changed)).first() is not None

    def _row(self, found: Any) -> SealedRow:
        sealed = {name: value for name in self.columns if (value := getattr(found, name)) is not None}
        clear = {column: self._in_clear(found, names) for column, names in self._clear.items() if column not in sealed}
        key = tuple(found[: len(self._key)])
        return SealedRow(key, sealed, {column: fields for column, fields in clear.items() if fields})

    def _in_clear(self, found: Any, names: Sequence[str]) -> dict[str, Any]:
        return {name: value for name in names if (value := getattr(found, name))}


def sealed_tables() -> tuple[SealedTable, ...]:
    """Every table that holds ciphertext, by name."""
    tables = (SealedTable(table) for table in Base.metadata.sorted_tables)
    return tuple(sorted((table for table in tables if table.columns), key=lambda table: table.name))


async def newest_transaction(session: DbSession) -> int:
    """The number of a transaction that begins now."""
    return int(await session.scalar(text("SELECT pg_current_xact_id()::text")) or 0)


async def oldest_transaction(session: DbSession) -> int:
    """The lowest number that a transaction under way has, or the next one will have."""
    return int(await session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")) or 0)
