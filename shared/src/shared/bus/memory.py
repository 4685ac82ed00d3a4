"""The bus of a single process: publishing is handling.

It stores nothing. Durability comes from the outbox: `publish` returns only when every matching handler is done, and a
failure leaves the row where it is, to be published again.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from shared.bus.port import Handler, NotDeliveredError, deliver, describe, matches
from shared.events.base import Envelope


@dataclass
class _Worker:
    handler: Handler
    slots: asyncio.Semaphore


@dataclass
class _Consumer:
    """Subscriptions under one name; they take turns."""

    patterns: set[str] = field(default_factory=set)
    workers: list[_Worker] = field(default_factory=list)
    turn: int = 0

    def next_worker(self) -> _Worker:
        self.turn += 1
        return self.workers[self.turn % len(self.workers)]


class InProcessBus:
    """Calls the handlers of this process.

    A paused bus lets `publish` wait. Whoever composes several services pauses it until all of them have subscribed:
    an event that finds no consumer counts as delivered.
    """

    def __init__(self, *, paused: bool = False) -> None:
        self._consumers: dict[str, _Consumer] = defaultdict(_Consumer)
        self._running = asyncio.Event()
        self._closed = False
        if not paused:
            self._running.set()

    def pause(self) -> None:
        """Let `publish` wait until `resume`."""
        self._running.clear()

    def resume(self) -> None:
        """Let the events go."""
        self._running.set()

    async def publish(self, envelope: Envelope) -> None:
        """Hand the event to each matching consumer and wait for all of them.

        Raises:
            NotDeliveredError: one or more failed (the others are done), or the bus is closed.
        """
        await self._running.wait()
        if self._closed:
            raise NotDeliveredError("the bus is closed")
        key = envelope.routing_key
        workers = {
            name: group.next_worker()
            for name, group in self._consumers.items()
            if any(matches(pattern, key) for pattern in group.patterns)
        }
        calls = (_hand_over(name, worker, envelope) for name, worker in workers.items())
        results = await asyncio.gather(*calls, return_exceptions=True)
        failures = [(name, result) for name, result in zip(workers, results, strict=True) if result is not None]
        for _, result in failures:
            if not isinstance(result, Exception):
                raise result
        if failures:
            raise NotDeliveredError("; ".join(f"{name}: {describe(result)}" for name, result in failures))

    async def subscribe(self, *, consumer: str, patterns: Sequence[str], handler: Handler, prefetch: int = 16) -> None:
        """See `Bus.subscribe`."""
        group = self._consumers[consumer]
        group.patterns.update(patterns)
        group.workers.append(_Worker(handler, asyncio.Semaphore(prefetch)))

    async def ping(self) -> None:
        """Raise NotDeliveredError when the bus is closed."""
        if self._closed:
            raise NotDeliveredError("the bus is closed")

    async def close(self) -> None:
        """Forget the subscriptions; whoever publishes from now on is refused."""
        self._closed = True
        self._consumers.clear()
        self._running.set()


async def _hand_over(name: str, worker: _Worker, envelope: Envelope) -> None:
    async with worker.slots:
        await deliver(name, worker.handler, envelope)
