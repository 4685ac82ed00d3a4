"""Key look-ups with a short memory: clients offer the same key twice per login, and agents offer several."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from builder.services.controller import Account, Fingerprints

# A key that is removed stops working, and one that is added starts to, within these times.
POSITIVE_SECONDS = 10.0
NEGATIVE_SECONDS = 2.0
MAX_ENTRIES = 1000

LookUp = Callable[[Fingerprints], Awaitable[Account | None]]


class AccountCache:
    """Answers from memory while fresh; concurrent questions about one key share a single call."""

    def __init__(self, look_up: LookUp) -> None:
        self._look_up = look_up
        self._known: OrderedDict[Fingerprints, tuple[Account | None, float]] = OrderedDict()
        self._asking: dict[Fingerprints, asyncio.Task[Account | None]] = {}

    async def find(self, fingerprints: Fingerprints) -> Account | None:
        """The account of a key, None when unknown; errors of the look-up are passed on and not remembered."""
        known = self._known.get(fingerprints)
        if known is not None and asyncio.get_running_loop().time() < known[1]:
            return known[0]
        task = self._asking.get(fingerprints)
        if task is None:
            task = asyncio.create_task(self._ask(fingerprints), name="key-look-up")
            self._asking[fingerprints] = task
            task.add_done_callback(lambda done: self._asked(fingerprints, done))
        # Shielded: a client that hangs up must not take the answer from the others who wait for it.
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End look-ups that are under way."""
        tasks = list(self._asking.values())
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    async def _ask(self, fingerprints: Fingerprints) -> Account | None:
        account = await self._look_up(fingerprints)
        seconds = NEGATIVE_SECONDS if account is None else POSITIVE_SECONDS
        self._known[fingerprints] = (account, asyncio.get_running_loop().time() + seconds)
        self._known.move_to_end(fingerprints)
        if len(self._known) > MAX_ENTRIES:
            self._known.popitem(last=False)
        return account

    def _asked(self, fingerprints: Fingerprints, task: asyncio.Task[Account | None]) -> None:
        self._asking.pop(fingerprints, None)
        if not task.cancelled():
            task.exception()  # seen, also when every waiter has gone
