"""Events and buses for tests about delivery."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from shared.events import AppCreated, AppDeleted, Envelope

SOURCE = "/services/test"


def created(app: str = "shop") -> Envelope:
    """An envelope with an `app.created`."""
    return Envelope.wrap(AppCreated(app=app, owner="mina"), source=SOURCE)


def deleted(app: str = "shop") -> Envelope:
    """An envelope with an `app.deleted`."""
    return Envelope.wrap(AppDeleted(app=app, actor="mina"), source=SOURCE)


class Recorder:
    """A handler that remembers what it got. `fail` decides, per envelope, whether it raises."""

    def __init__(self, fail: Callable[[Envelope], bool] = lambda _: False) -> None:
        self.seen: list[Envelope] = []
        self.tried: list[Envelope] = []
        self._fail = fail

    @property
    def ids(self) -> list[str]:
        return [envelope.id for envelope in self.seen]

    async def __call__(self, envelope: Envelope) -> None:
        self.tried.append(envelope)
        if self._fail(envelope):
            raise RuntimeError("no thanks, password=hunter2")
        self.seen.append(envelope)


class Gate(Recorder):
    """A recorder that holds every event until it is opened, and counts how many it holds at most."""

    def __init__(self) -> None:
        super().__init__()
        self.opened = asyncio.Event()
        self.inside = 0
        self.most = 0

    async def __call__(self, envelope: Envelope) -> None:
        self.inside += 1
        self.most = max(self.most, self.inside)
        await self.opened.wait()
        self.inside -= 1
        await super().__call__(envelope)
