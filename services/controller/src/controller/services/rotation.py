"""Rotation of the keys that secrets at rest are encrypted with: everything stored is encrypted anew with the first key,
and what earlier versions stored in clear for the first time.

It works while the platform runs: rows are changed one by one and only if they are as they were read, in short
transactions. It can be stopped at any time and begun again; what has the first key already is left alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from controller.domain.audit import Origin
from controller.repositories.cipher import LOOK_AGAIN_SECONDS, Cipher, UnreadableSecretError
from controller.repositories.sealed import (
    SealedRow,
    SealedTable,
    newest_transaction,
    oldest_transaction,
    sealed_tables,
)
from controller.schema.base import OUTBOX
from controller.services.audit import AuditTrail
from controller.uow import EVENT_SOURCE
from shared.clock import Clock, SystemClock
from shared.db import Database, DbSession
from shared.errors import ConflictError, UnavailableError
from shared.outbox import Outbox

BATCH: Final = 200
MOST_PASSES: Final = 10
OLD_TRANSACTIONS_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.05
_LOCK: Final = "rotate-keys"


class RotationRunningError(ConflictError):
    """Somebody else rotates the keys now."""

    code = "rotation-running"

    def __init__(self) -> None:
        super().__init__("the keys are being rotated already: wait until that has ended")


@dataclass
class TableReport:
    """What was done to one table: how many rows it has, how many secrets have another key now (or one at last), or
    open with none."""

    rows: int = 0
    renewed: int = 0
    unreadable: int = 0


@dataclass
class RotationReport:
    """What a rotation did. `unreadable` secrets open with no key of the ring, and were left as they are."""

    tables: dict[str, TableReport] = field(default_factory=dict)
    passes: int = 0

    @property
    def renewed(self) -> int:
        """How many secrets have another key now."""
        return sum(table.renewed for table in self.tables.values())

    @property
    def unreadable(self) -> int:
        """How many secrets are lost unless a former key comes back."""
        return sum(table.unreadable for table in self.tables.values())


@dataclass(frozen=True)
class _Recording:
    """What the audit trail needs of a unit of work."""

    session: DbSession
    outbox: Outbox
    origin: Origin
    clock: Clock

    def now(self) -> datetime:
        return self.clock.now()


class Rotation:
    """Encrypts everything with the first key of `cipher`. `progress` is told of each table that is done."""

    def __init__(
        self,
        database: Database,
        cipher: Cipher,
        *,
        clock: Clock | None = None,
        progress: Callable[[str, TableReport], None] | None = None,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._clock = clock or SystemClock()
        self._progress = progress or (lambda _name, _table: None)

    async def run(self, *, actor: str) -> RotationReport:
        """Do it. Returns when a whole pass has found nothing that was left to do.

        Raises:
            RotationRunningError: another one is under way.
            UnavailableError: secrets with another key keep coming: some process still writes them.
        """
        async with self._database.try_lock(_LOCK) as mine:
            if not mine:
                raise RotationRunningError
            await self._outlast_old_work()
            report = RotationReport()
            while await self._pass(report):
                if report.passes == MOST_PASSES:
                    raise UnavailableError(
                        "secrets are still being stored with a former key or in clear: give every process of the "
                        "controller this version and the new list of keys, then run this again"
                    )
            await self._record(report, actor)
        return report

    async def _outlast_old_work(self) -> None:
        """Wait until nobody writes with the ring that was there before: processes read it once a second, and what
        they had begun by then is over."""
        await self._clock.sleep(timedelta(seconds=2 * LOOK_AGAIN_SECONDS))
        async with self._database.transaction() as session:
            newest = await newest_transaction(session)
        with suppress(TimeoutError):  # the passes find what a longer transaction wrote
            async with asyncio.timeout(OLD_TRANSACTIONS_SECONDS):
                await self._until_over(newest)

    async def _until_over(self, newest: int) -> None:
        while True:
            async with self._database.reading() as session:
                if await oldest_transaction(session) > newest:
                    return
            await asyncio.sleep(_POLL_SECONDS)

    async def _pass(self, report: RotationReport) -> bool:
        """Go through all tables once; whether anything was renewed."""
        report.passes += 1
        before = report.renewed
        for table in sealed_tables():
            found = TableReport()
            await self._table(table, found)
            known = report.tables.setdefault(table.name, TableReport())
            known.rows, known.unreadable = found.rows, found.unreadable
            known.renewed += found.renewed
            self._progress(table.name, known)
        return report.renewed > before

    async def _table(self, table: SealedTable, found: TableReport) -> None:
        last: tuple[Any, ...] | None = None
        while True:
            async with self._database.reading() as session:
                rows = await table.read(session, after=last, most=BATCH)
            if not rows:
                return
            await self._batch(table, rows, found)
            last = rows[-1].key

    async def _batch(self, table: SealedTable, rows: list[SealedRow], found: TableReport) -> None:
        todo = []
        for row in rows:
            found.rows += 1
            if renewed := self._renewed(row, found):
                todo.append((row, renewed))
        if not todo:
            return
        async with self._database.transaction() as session:
            for row, renewed in todo:
                if await table.replace(session, row, renewed):
                    found.renewed += len(renewed)

    def _renewed(self, row: SealedRow, found: TableReport) -> dict[str, str]:
        renewed = {column: self._cipher.seal(fields) for column, fields in row.clear.items()}
        for name, sealed in row.sealed.items():
            try:
                other = self._cipher.renew(sealed)
            except UnreadableSecretError:
                found.unreadable += 1
                continue
            if other is not None:
                renewed[name] = other
        return renewed

    async def _record(self, report: RotationReport, actor: str) -> None:
        async with self._database.transaction() as session:
            outbox = Outbox(session, OUTBOX, source=EVENT_SOURCE)
            trail = AuditTrail(_Recording(session, outbox, Origin("command"), self._clock))
            facts = {"renewed": report.renewed, "unreadable": report.unreadable}
            await trail.record("encryption.rotated", actor=actor, after=facts)
