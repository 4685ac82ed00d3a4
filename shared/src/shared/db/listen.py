"""Listens for PostgreSQL notifications on a connection of its own and survives the loss of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Final

import asyncpg
from sqlalchemy.engine import URL
from tenacity import AsyncRetrying, retry_if_exception_type, wait_exponential_jitter

from shared.logging import get_logger

_IDLE_CHECK_SECONDS: Final = 30.0
_DEADLINE_SECONDS: Final = 10.0
_LOST: Final = (OSError, asyncpg.PostgresError, asyncpg.InterfaceError)  # TimeoutError is an OSError
log = get_logger(__name__)


class Listener:
    """An endless asynchronous iterator over the names of notified channels. For one consumer; close it."""

    def __init__(self, url: URL, channels: Sequence[str]) -> None:
        self._url = url
        self._channels = tuple(channels)
        self._pending: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._connection: asyncpg.Connection[asyncpg.Record] | None = None

    def __aiter__(self) -> Listener:
        return self

    async def __anext__(self) -> str:
        while not self._pending:
            if self._connection is None or self._connection.is_closed():
                await self._reconnect()
            else:
                await self._wait(self._connection)
        channel = next(iter(self._pending))
        del self._pending[channel]
        return channel

    async def close(self) -> None:
        """End the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=1.0)
            except _LOST:
                connection.terminate()

    async def _wait(self, connection: asyncpg.Connection[asyncpg.Record]) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(_IDLE_CHECK_SECONDS):
                await self._wake.wait()
        except TimeoutError:
            # A peer that vanished without a word is noticed only by asking.
            try:
                await connection.execute("SELECT 1", timeout=_DEADLINE_SECONDS)
            except _LOST:
                connection.terminate()

    async def _reconnect(self) -> None:
        await self.close()
        retry = retry_if_exception_type(_LOST)
        async for attempt in AsyncRetrying(
            retry=retry, wait=wait_exponential_jitter(multiplier=0.05, max=2.0, jitter=0.05)
        ):
            with attempt:
                if attempt.retry_state.attempt_number == 2:
                    log.warning("listen_connection_lost", channels=self._channels)
                self._connection = await self._connect()
        self._pending.update(dict.fromkeys(self._channels))

    async def _connect(self) -> asyncpg.Connection[asyncpg.Record]:
        # The dialect knows how a URL spells sockets, several hosts and TLS.
        _, options = self._url.get_dialect()().create_connect_args(self._url)
        connection: asyncpg.Connection[asyncpg.Record] = await asyncpg.connect(
            timeout=_DEADLINE_SECONDS, server_settings={"application_name": "workflow-listen"}, **options
        )
        try:
            connection.add_termination_listener(self._on_lost)
            for channel in self._channels:
                await connection.add_listener(channel, self._on_notify)
        except BaseException:
            with contextlib.suppress(*_LOST):
                connection.terminate()
            raise
        return connection

    def _on_notify(self, _connection: object, _pid: int, channel: str, _payload: object) -> None:
        self._pending[channel] = None
        self._wake.set()

    def _on_lost(self, _connection: object) -> None:
        self._wake.set()
