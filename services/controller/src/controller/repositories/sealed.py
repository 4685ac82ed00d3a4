"""SQL over all that is stored as ciphertext, whichever table it stands in: columns named `sealed_...`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Column, Table, and_, func, select, text, tuple_, update
from sqlalchemy.ext.asyncio import AsyncSession

from controller.schema import accounts, apps, audit, domains, ingress, jobs, measurements, storage
from controller.schema.base import Base

PREFIX: Final = "sealed_"
DECLARING = (accounts, apps, audit, domains, ingress, jobs, measurements, storage)
"""Importing them declares their tables on `Base`."""


@dataclass(frozen=True)
class SealedRow:
    """What one row has of ciphertext, by column; `key` are the values of its primary key."""

    key: tuple[Any, ...]
    sealed: Mapping[str, str]


class SealedTable:
    """One table that holds ciphertext."""

    def __init__(self, table: Table) -> None:
        self.name = table.name
        self.columns = tuple(column.name for column in table.columns if column.name.startswith(PREFIX))
        self._table = table
        self._key: Sequence[Column[Any]] = tuple(table.primary_key.columns)

    async def count(self, session: AsyncSession) -> int:
        """How many rows there are."""
        return await session.scalar(select(func.count()).select_from(self._table)) or 0

    async def read(self, session: AsyncSession, *, after: tuple[Any, ...] | None, most: int) -> list[SealedRow]:
        """The rows that follow the one with the key `after`, in order of their keys."""
        sealed = [self._table.c[name] for name in self.columns]
        query = select(*self._key, *sealed).order_by(*self._key).limit(most)
        if after is not None:
            query = query.where(tuple_(*self._key) > after)
        return [self._row(tuple(found)) for found in await session.execute(query)]

    async def replace(self, session: AsyncSession, row: SealedRow, renewed: Mapping[str, str]) -> bool:
        """Write other ciphertext into a row; False when it is gone or was changed since it was read."""
        same = [column == value for column, value in zip(self._key, row.key, strict=True)]
        same += [self._table.c[name] == row.sealed[name] for name in renewed]
        changed = update(self._table).where(and_(*same)).values(dict(renewed)).returning(self._key[0])
        return (await session.execute(changed)).first() is not None

    def _row(self, found: tuple[Any, ...]) -> SealedRow:
        size = len(self._key)
        sealed = {name: value for name, value in zip(self.columns, found[size:], strict=True) if value is not None}
        return SealedRow(found[:size], sealed)


def sealed_tables() -> tuple[SealedTable, ...]:
    """Every table that holds ciphertext, by name."""
    tables = (SealedTable(table) for table in Base.metadata.sorted_tables)
    return tuple(sorted((table for table in tables if table.columns), key=lambda table: table.name))


async def newest_transaction(session: AsyncSession) -> int:
    """The number of a transaction that begins now."""
    return int(await session.scalar(text("SELECT pg_current_xact_id()::text")) or 0)


async def oldest_transaction(session: AsyncSession) -> int:
    """The lowest number that a transaction under way has, or the next one will have."""
    return int(await session.scalar(text("SELECT pg_snapshot_xmin(pg_current_snapshot())::text")) or 0)
