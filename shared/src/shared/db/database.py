"""One database of one service: pooled sessions, transactions, notifications, advisory locks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import event, text
from sqlalchemy.engine import URL, ExceptionContext, make_url
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError, NotSupportedError, ProgrammingError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool, PoolProxiedConnection

from shared.db.deferred import DbSession, DeferringSession, defer_notification
from shared.db.leader import LeaderLock
from shared.db.listen import Listener
from shared.logging import get_logger

CONNECT_TIMEOUT_SECONDS: Final = 10.0
COMMAND_TIMEOUT_SECONDS: Final = 30.0
_PING_TIMEOUT_SECONDS: Final = 2.0
_LOCK_POOL_SIZE: Final = 2
_LOCK_POOL_OVERFLOW: Final = 14
# Classes of SQLSTATE (appendix A of PostgreSQL's manual): connection exception, insufficient resources, and the
# server's own comings and goings.
_AWAY_STATES: Final = ("08", "53", "57P")
_DATA_STATES: Final = "22"
# What a vanished machine had locked is free after 25 s, instead of the two hours of most systems.
_KEEP_ALIVE: Final = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
log = get_logger(__name__)


class DatabaseAwayError(Exception):
    """The database cannot be used now: nothing answers, or no connection became free in time. Nothing is known to be
    wrong with what was asked of it; a service answers 503."""


class _Pool(AsyncAdaptedQueuePool):
    _sqla_logger_namespace = "sqlalchemy.pool.impl.AsyncAdaptedQueuePool"  # as chatty as the one that it stands for

    def connect(self) -> PoolProxiedConnection:
        try:
            return super().connect()
        except (PoolTimeoutError, OSError) as error:  # TimeoutError is an OSError
            log.warning("no_database_connection", reason=type(error).__name__)
            raise DatabaseAwayError("no connection to the database could be had in time") from error


def create_engine(url: str | URL, *, pool_size: int = 5, max_overflow: int = 0) -> AsyncEngine:
    """An engine whose every statement has a deadline and whose errors do not repeat parameters. It raises
    `DatabaseAwayError` for what is no fault of a statement."""
    engine = create_async_engine(
        url,
        poolclass=_Pool,
        pool_size=pool_size,
        pool_use_lifo=True,  # a quiet service goes on with the few that it has used last
        max_overflow=max_overflow,
        pool_timeout=CONNECT_TIMEOUT_SECONDS,
        hide_parameters=True,
        connect_args=_connect_args(),
    )
    event.listen(engine.sync_engine, "handle_error", _tell_absence)
    return engine


def _tell_absence(context: ExceptionContext) -> None:
    error = context.original_exception
    if not isinstance(error, Exception):
        return  # a task that is cancelled stays so, though its connection is given up as well
    state = getattr(error, "sqlstate", None) or ""
    if context.is_disconnect or isinstance(error, OSError) or state.startswith(_AWAY_STATES):
        log.warning("database_away", reason=type(error).__name__, sqlstate=state)
        raise DatabaseAwayError("the database does not answer, or not any more") from error


def create_unpooled_engine(url: str | URL) -> AsyncEngine:
    """An engine for a few statements: each connection is closed when it is given back."""
    return create_async_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=_connect_args())


def _connect_args() -> dict[str, object]:
    settings = {
        "application_name": "workflow",
        "timezone": "UTC",
        "jit": "off",  # our queries are short: planning with it costs more than it gives
        **_KEEP_ALIVE,
    }
    return {
        "timeout": CONNECT_TIMEOUT_SECONDS,
        "command_timeout": COMMAND_TIMEOUT_SECONDS,
        "server_settings": settings,
    }


def is_database_away(exc: BaseException) -> bool:
    """Whether `exc` says that the database cannot be reached now, rather than that a statement is wrong."""
    if isinstance(exc, DatabaseAwayError | OSError | PoolTimeoutError):  # TimeoutError is an OSError
        return True
    if not isinstance(exc, DBAPIError) or isinstance(exc, ProgrammingError | IntegrityError | NotSupportedError):
        return False
    # What the driver cannot encode comes as a general error with the class of data exceptions.
    state = getattr(exc.orig, "sqlstate", None) or ""
    return not (isinstance(exc, DataError) or state.startswith(_DATA_STATES))


class Database:
    """Connections to `url` (`postgresql+asyncpg://user@/name?host=/socket/dir` or with host and port).

    Nothing connects before the first use. `close` ends every connection; the object is useless after that.
    """

    def __init__(self, url: str, *, pool_size: int = 10) -> None:
        self._url = make_url(url)
        # No overflow: a connection beyond the pool would be opened and closed again for a single request.
        self._engine = create_engine(self._url, pool_size=pool_size)
        # Locks are held across slow work: a pool of their own keeps them from starving queries.
        self._locks = create_engine(self._url, pool_size=_LOCK_POOL_SIZE, max_overflow=_LOCK_POOL_OVERFLOW)
        options: dict[str, Any] = {"expire_on_commit": False, "sync_session_class": DeferringSession}
        self._sessions = async_sessionmaker(self._engine, **options)
        self._reading = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """A session in which the caller commits; what was not committed is rolled back."""
        async with self._sessions() as session:
            yield session

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for queries alone: each sees what is committed when it begins, as it would in a transaction of
        PostgreSQL's default isolation, without the round trips that begin and end one, and without a session, which
        costs as much again as a small query. Rows of it hold columns only."""
        connection = await self._reading.connect()
        try:
            yield connection
        finally:
            # Not by `async with`, which spends a task on shielding this: there is nothing to wait for.
            await connection.close()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncSession]:
        """A session in one transaction: committed at the end of the block, rolled back on any exception."""
        async with self._sessions() as session, session.begin():
            yield session

    @asynccontextmanager
    async def listen(self, *channels: str) -> AsyncIterator[AsyncIterator[str]]:
        """Yield an endless iterator over names of `channels` that were notified.

        Notifications that arrive together come as one. Every channel is yielded once after each (re)connect, because
        some may have been missed; the iterator waits for a database that is away and never raises for it.
        """
        listener = Listener(self._url, channels)
        try:
            yield listener
        finally:
            await listener.close()

    @asynccontextmanager
    async def try_lock(self, key: str) -> AsyncIterator[bool]:
        """Hold the session-level advisory lock of `key` for the block; yields False at once when another holds it.

        No transaction is open meanwhile. Should the connection break, the lock is gone without notice, so that work
        under the lock must be safe to repeat.
        """
        async with self._locks.connect() as pooled:
            connection = await pooled.execution_options(isolation_level="AUTOCOMMIT")
            taken = await _advisory(connection, "pg_try_advisory_lock", key)
            try:
                yield taken
            finally:
                if taken:
                    await _release(connection, key)

    def leader_lock(self, key: str) -> LeaderLock:
        """The advisory lock of `key`, to be held for as long as a process runs."""
        return LeaderLock(self._locks, key)

    async def ping(self) -> None:
        """Return when the database answers within two seconds.

        Raises:
            TimeoutError: it does not answer in time.
            Exception: whatever the driver says otherwise.
        """
        async with asyncio.timeout(_PING_TIMEOUT_SECONDS), self._engine.connect() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()
        await self._locks.dispose()


async def notify(session: DbSession, channel: str) -> None:
    """Wake the listeners of `channel` when the transaction of `session` commits."""
    defer_notification(session, channel)


async def _advisory(connection: AsyncConnection, function: str, key: str) -> bool:
    statement = text(f"SELECT {function}(hashtextextended(:key, 0))")
    return bool((await connection.execute(statement, {"key": key})).scalar_one())


async def _release(connection: AsyncConnection, key: str) -> None:
    try:
        await _advisory(connection, "pg_advisory_unlock", key)
    except BaseException:
        # A connection that may still hold the lock must not go back to the pool.
        await connection.invalidate()
        raise
