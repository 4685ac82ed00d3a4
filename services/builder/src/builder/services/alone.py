"""One builder at a database: pushes take turns in its memory, and its start gives up what an earlier one left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from builder.services.storing import insist
from shared.db import Database
from shared.db.leader import Holder
from shared.logging import get_logger
from shared.settings import SettingsError

TAKE_SECONDS: Final = 60.0
"""How long a start waits for the builder before it, which may drain."""
LOOK_SECONDS: Final = 1.0
CHECK_SECONDS: Final = 5.0
ATTEMPTS: Final = 3
"""The first may be due to an old connection, which that attempt ends."""
log = get_logger(__name__)


class Alone:
    """`take`, then `keep` as a task, `leave` at the end. `on_loss` is called when another builder has taken over."""

    def __init__(self, database: Database, *, on_loss: Callable[[], None]) -> None:
        self._lock = database.leader_lock("builder")
        self._on_loss = on_loss

    async def take(self) -> None:
        """Return when no other builder is at work.

        Raises:
            SettingsError: there still is one after a minute.
        """
        loop = asyncio.get_running_loop()
        deadline, is_told = loop.time() + TAKE_SECONDS, False
        while not await self._lock.take():
            holder = await self._lock.holder()
            if not is_told:
                log.warning("another_builder_is_at_work", wait_seconds=TAKE_SECONDS, **_facts(holder))
                is_told = True
            if loop.time() > deadline:
                raise SettingsError(_sentence(holder))
            await asyncio.sleep(LOOK_SECONDS)

    async def keep(self) -> None:
        """Hold on to it until another builder has it; a database that is away is waited for."""
        is_ours = True
        while is_ours:
            await asyncio.sleep(CHECK_SECONDS)
            is_ours = await self._lock.is_kept() or await self._is_taken_again()
        log.error("another_builder_took_over")
        self._on_loss()

    async def leave(self) -> None:
        """Let the next one begin."""
        await self._lock.release()

    async def _is_taken_again(self) -> bool:
        """False: another one has it, and not a connection of ours that the database takes to be alive still."""
        for _ in range(ATTEMPTS):
            if await insist(self._lock.take, pause_seconds=LOOK_SECONDS):
                return True
            await asyncio.sleep(LOOK_SECONDS)
        return False


def _facts(holder: Holder | None) -> dict[str, str]:
    return {} if holder is None else {"address": _address(holder), "since": holder.since.isoformat()}


def _address(holder: Holder) -> str:
    return holder.address or "the database's machine"


def _sentence(holder: Holder | None) -> str:
    who = "" if holder is None else f", connected from {_address(holder)} since {holder.since:%Y-%m-%d %H:%M:%S} UTC"
    return (
        f"BUILDER_DATABASE_URL: another builder is at work at this database{who}; run one builder for a database"
        " (in Kubernetes: one replica, strategy Recreate) and let that one end first"
    )
