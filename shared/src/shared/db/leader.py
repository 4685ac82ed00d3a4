"""One process among all at a database: an advisory lock on a connection that is kept for it."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_ANSWER_SECONDS: Final = 5.0
_TAKE: Final = "SELECT pg_try_advisory_lock(hashtextextended(:key, 0))"
_SELF: Final = "SELECT pid, host(client_addr), backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
# PostgreSQL's manual, pg_locks: the two halves of a key that is one bigint, whose objsubid is 1.
_HOLDER: Final = """
SELECT pid, host(client_addr), backend_start FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND granted AND objsubid = 1
  AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND (classid::bigint << 32) | objid::bigint = hashtextextended(:key, 0)
"""


class Holder(NamedTuple):
    """Who holds a lock: the process that serves it at the database, the address that it is connected from (None: a
    socket of the database's machine) and since when."""

    pid: int
    address: str | None
    since: datetime


class LeaderLock:
    """The session-level advisory lock of `key`, for one task. It is gone when its connection is, which `is_kept` tells;
    the database notices within half a minute that a machine vanished."""

    def __init__(self, engine: AsyncEngine, key: str) -> None:
        self._engine = engine
        self._key = {"key": key}
        self._connection: AsyncConnection | None = None
        self._self: Holder | None = None

    async def take(self) -> bool:
        """Hold it from now on; False: somebody else does. A connection of before that the database has not missed yet
        is somebody else, too: it is ended, so that the next attempt may succeed.

        Raises:
            DatabaseAwayError: nobody can tell.
        """
        await self.release()
        connection = await self._engine.connect()
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            taken = bool((await connection.execute(text(_TAKE), self._key)).scalar_one())
            if taken:
                self._self = Holder(*(await connection.execute(text(_SELF))).one())
            elif (holder := await self._holder(connection)) is not None and holder == self._self:
                await connection.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": holder.pid})
        except BaseException:
            await connection.invalidate()
            await connection.close()
            raise
        if taken:
            self._connection = connection
        else:
            await connection.close()
        return taken

    async def holder(self) -> Holder | None:
        """Who holds it, None: nobody any more."""
        async with self._engine.connect() as connection:
            return await self._holder(connection)

    async def _holder(self, connection: AsyncConnection) -> Holder | None:
        row = (await connection.execute(text(_HOLDER), self._key)).first()
        return None if row is None else Holder(*row)

    async def is_kept(self) -> bool:
        """Whether it is still held: asks over its connection."""
        if self._connection is None:
            return False
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await self._connection.execute(text("SELECT 1"))
        except Exception:  # whatever it was: this connection says nothing for sure any more
            return False
        return True

    async def release(self) -> None:
        """Give it up, if it is held."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()  # a connection that ends holds nothing
            await connection.close()
