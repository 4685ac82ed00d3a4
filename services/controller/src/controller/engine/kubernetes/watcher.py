"""One list and watch: what is there, then every change, through disconnects, restarts and forgotten versions."""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Callable
from contextlib import aclosing, suppress
from typing import Final

from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import Kind
from controller.engine.kubernetes.store import Store, app_of
from controller.engine.kubernetes.trim import entry_of, version_of
from shared.kubernetes.errors import (
    ClusterError,
    ClusterForbiddenError,
    ClusterGoneError,
    ClusterNotFoundError,
    ClusterSilentError,
)
from shared.kubernetes.watch import WatchEvent
from shared.logging import get_logger

_FIRST_PAUSE_SECONDS: Final = 0.2
_LONGEST_PAUSE_SECONDS: Final = 5.0
_STEADY_SECONDS: Final = 5.0
_SHORTEST_WATCH_SECONDS: Final = 300
LONG_SECONDS: Final = 5.0
"""A break that is longer is no hiccup: what was known before it says nothing about now."""
_RIGHTS_SECONDS: Final = 10.0
"""How long rights in a namespace may take after it was made: they are given there by an object of their own."""
log = get_logger(__name__)


class Watcher:
    """Keeps the objects of one kind in a store: of one namespace, or of all."""

    def __init__(
        self,
        client: Client,
        store: Store,
        kind: Kind,
        namespace: str | None,
        *,
        labels: str,
        on_synced: Callable[[], None],
        on_heard: Callable[[float], None] = lambda _: None,
        is_fresh: bool = False,
    ) -> None:
        """`on_heard` is called when the cluster is heard of again after a break of so many seconds. `is_fresh`: what is
        kept is as new as the cluster's answer then, however much has happened meanwhile."""
        self._client = client
        self._store = store
        self.kind = kind
        self._namespace = namespace
        self._labels = labels
        self._version = ""
        self._pause = _FIRST_PAUSE_SECONDS
        self._told = ""
        self._on_synced = on_synced
        self._on_heard = on_heard
        self._is_fresh = is_fresh
        self._hurry = asyncio.Event()
        self.is_synced = False
        """The first list has been read."""
        self.lost_at: float | None = None
        """When the cluster was last heard of, by the clock of the loop; None while it is heard of."""
        self.is_denied = False
        """We may not read these objects, or not yet."""
        self.is_ending = False
        """Their namespace is on its way out, and our rights with it."""

    async def run(self, lists: asyncio.Semaphore) -> None:
        """Run until the cluster has no such kind any more; `lists` bounds how many lists are read at a time."""
        loop = asyncio.get_running_loop()
        born = loop.time()
        while True:
            started = loop.time()
            if self._is_fresh and self.lost_at is not None and started - self.lost_at > LONG_SECONDS:
                self._version = ""
            try:
                if not self._version:
                    async with lists:
                        await self._list()
                await self._watch()
            except ClusterSilentError:
                # Kinds of which there has never been one have no bookmarks. Whether it is dead the next try tells.
                log.debug("watch_silent", kind=self.kind.kind, namespace=self._namespace)
            except ClusterGoneError:
                log.info("watch_expired", kind=self.kind.kind, namespace=self._namespace)
                self._version = ""
            except ClusterNotFoundError as exc:
                if self.kind.addon is not None:
                    self._store.replace(self.kind, self._namespace, (), version=sys.maxsize)
                    return
                self._tell(exc)
            except ClusterForbiddenError as exc:
                self._deny(exc, is_young=loop.time() - born < _RIGHTS_SECONDS)
            except ClusterError as exc:
                self._tell(exc)
            if loop.time() - started < _STEADY_SECONDS:
                await self._rest()
            else:
                self._pause = _FIRST_PAUSE_SECONDS
                self._told = ""

    def _deny(self, exc: ClusterForbiddenError, *, is_young: bool) -> None:
        if exc.http_status == 403 and not self.is_denied:
            self.is_denied = True
            self._on_synced()
        if self._namespace is None or not (is_young or self.is_ending):
            self._tell(exc)

    def hurry(self) -> None:
        """The cluster is there again: do not wait before the next try."""
        if self.lost_at is not None:
            self._hurry.set()

    def _heard(self) -> None:
        if self.lost_at is not None:
            seconds = asyncio.get_running_loop().time() - self.lost_at
            self.lost_at = None
            self._on_heard(seconds)

    def _tell(self, exc: ClusterError) -> None:
        """Log why it broke, once until that changes: it is tried again every few seconds."""
        if self.lost_at is None:
            self.lost_at = asyncio.get_running_loop().time()
        if exc.words != self._told:
            self._told = exc.words
            log.warning("watch_broken", kind=self.kind.kind, namespace=self._namespace, error=exc.words)

    async def _list(self) -> None:
        entries = []
        version = ""
        async with aclosing(self._client.pages(self.kind, self._namespace, labels=self._labels)) as pages:
            async for page in pages:
                entries += [entry_of(self.kind, item) for item in page.items]
                version = page.resource_version
        self._store.replace(self.kind, self._namespace, entries, version=version_of(version))
        self._version = version
        self.is_denied = False
        if not self.is_synced:
            self.is_synced = True
            self._on_synced()

    async def _watch(self) -> None:
        seconds = random.randint(_SHORTEST_WATCH_SECONDS, 2 * _SHORTEST_WATCH_SECONDS)  # noqa: S311 - not all at once
        watch = self._client.watch(
            self.kind,
            self._namespace,
            labels=self._labels,
            resource_version=self._version,
            timeout_seconds=seconds,
            on_open=self._heard,
        )
        async with aclosing(watch) as events:
            async for event in events:
                self._take(event)
                self._version = event.resource_version
                self._pause = _FIRST_PAUSE_SECONDS

    def _take(self, event: WatchEvent) -> None:
        if event.type == "BOOKMARK":
            return
        if event.type == "DELETED":
            app, name = app_of(self.kind, event.object), event.object["metadata"]["name"]
            self._store.remove(self.kind, app, name, version=version_of(event.resource_version))
        else:
            self._store.take(self.kind, entry_of(self.kind, event.object))

    async def _rest(self) -> None:
        self._hurry.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(self._pause / 2, self._pause)):  # noqa: S311 - not all at once
                await self._hurry.wait()
        self._pause = min(self._pause * 2, _LONGEST_PAUSE_SECONDS)
