"""Kills a coroutine at a chosen one of its awaits, as the end of a process or a cancellation would."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from typing import Any


class KilledAt:
    """Awaits `coroutine`, but throws `CancelledError` into it the `number`th time that it waits (1-based).

    `reached` tells afterwards whether it waited so often, and `waits` how often it did. 0: it is not killed.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, object], number: int) -> None:
        self._coroutine = coroutine
        self._number = number
        self.reached = False
        self.waits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        try:
            waited = self._coroutine.send(None)
            while True:
                self.waits += 1
                if self.waits == self._number:
                    self.reached = True
                    waited = self._kill(waited)
                    continue
                try:
                    sent = yield waited
                except BaseException as error:
                    waited = self._coroutine.throw(error)
                else:
                    waited = self._coroutine.send(sent)
        except StopIteration:
            return
        except asyncio.CancelledError:
            if not self.reached:
                raise

    def _kill(self, waited: object) -> Any:
        if isinstance(waited, asyncio.Future):
            waited.cancel()
        return self._coroutine.throw(asyncio.CancelledError())


async def kill_at(coroutine: Coroutine[Any, Any, object], number: int) -> bool:
    """Run the coroutine and kill it at its `number`th await; False when it ended before that."""
    killed = KilledAt(coroutine, number)
    await killed
    return killed.reached
