"""Brings what the controller says about releases to the builds that wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from shared.events import ReleaseCreated, ReleaseDeployed, ReleaseFailed, ReleaseProgress, ReleaseRejected

ReleaseNews = ReleaseCreated | ReleaseDeployed | ReleaseFailed | ReleaseProgress | ReleaseRejected


class Verdicts:
    """Mailboxes by build id. News of a build that nobody waits for is dropped: the record has it all the same."""

    def __init__(self) -> None:
        self._waiting: dict[UUID, asyncio.Queue[ReleaseNews]] = {}

    @contextmanager
    def expect(self, build_id: UUID) -> Iterator[asyncio.Queue[ReleaseNews]]:
        """Collect the news of one build for the block."""
        queue: asyncio.Queue[ReleaseNews] = asyncio.Queue()
        self._waiting[build_id] = queue
        try:
            yield queue
        finally:
            del self._waiting[build_id]

    def deliver(self, news: ReleaseNews) -> None:
        queue = self._waiting.get(news.build_id) if news.build_id is not None else None
        if queue is not None:
            queue.put_nowait(news)
