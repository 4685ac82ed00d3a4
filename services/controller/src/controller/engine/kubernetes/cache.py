"""Keeps what the cluster has of our apps up to date: one watch per kind, and tells which app has changed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from typing import Final

from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import (
    ALL,
    DEPLOYMENT,
    EVENT,
    JOB,
    NAMESPACE,
    POD,
    SECRET,
    WATCHED,
    Kind,
    kind_of,
)
from controller.engine.kubernetes.names import OURS
from controller.engine.kubernetes.store import MOST_EVENTS, Store
from controller.engine.kubernetes.trim import Entry, entry_of
from controller.engine.kubernetes.watcher import LONG_SECONDS, Watcher
from controller.engine.watchers import Watchers
from shared.kubernetes.errors import ClusterError
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger
from shared.tasks import TaskOwner

SELECTOR: Final = ",".join(f"{key}={value}" for key, value in OURS.items())
"""Chooses the objects that are ours."""
_DISCOVERY_SECONDS: Final = 60.0
_FIRST_DISCOVERY_SECONDS: Final = 2.0
_TELLING: Final = (DEPLOYMENT, JOB, POD)
"""Kinds that rollouts go by: without word of them nothing is known."""
_LISTS_AT_A_TIME: Final = 16
log = get_logger(__name__)


class Cache:
    """What there is, a moment ago. Ours only: objects without our labels are unknown here.

    Optional kinds that the cluster lacks are looked for again every minute. The Secrets of an app are watched in its
    namespace as soon as that is known; so they may be known later than the rest (`synced`). `kinds` are those that are
    watched.
    """

    def __init__(self, client: Client, *, kinds: Collection[Kind] = WATCHED, most_events: int = MOST_EVENTS) -> None:
        self._client = client
        self._kinds = frozenset(kinds)
        self._watchers = Watchers()
        self._store = Store(self._on_change, most_events=most_events)
        self._running: dict[tuple[Kind, str | None], tuple[Watcher, asyncio.Task[None]]] = {}
        self._tasks = TaskOwner()
        self._lists = asyncio.Semaphore(_LISTS_AT_A_TIME)
        self._look_again = asyncio.Event()
        self._progress = asyncio.Event()
        self._namespaces_known = asyncio.Event()
        self._is_closed = False
        self._missed: set[str] = set()
        self.back_at: float | None = None
        """When the cluster was heard of again after a long break, by the clock of the loop; None: there was none."""

    async def start(self) -> None:
        """Start the watches; `synced` tells when the first lists have been read."""
        for kind in ALL:
            self._start(kind)
        self._tasks.start("cluster-discovery", self._discover)

    async def close(self) -> None:
        """Stop the watches; whoever follows `watch` comes to an end."""
        self._is_closed = True
        self._watchers.close()
        await self._tasks.__aexit__(None, None, None)

    def watch(self) -> AsyncIterator[str]:
        """Names of apps of which something has changed, from this call on, until closed; doubles are one."""
        return self._watchers.watch()

    def synced(self, app: str | None = None) -> bool:
        """Everything is known, of all apps or of this one, that we may know: we may read the Secrets of an app only
        after an apply has given us the right."""
        if not self._client.served.is_known:
            return False
        needed = {kind for kind in self._kinds & self._client.served.kinds() if kind.watched == "cluster"}
        if not all((kind, None) in self._running and self._running[kind, None][0].is_synced for kind in needed):
            return False
        spaces = self._store.apps() if app is None else {app} & self._store.apps()
        return SECRET not in self._kinds or all(self._are_secrets_settled(space) for space in spaces)

    def has_secrets(self, app: str) -> bool:
        """The Secrets of an app are known."""
        running = self._running.get((SECRET, app))
        return running is not None and running[0].is_synced

    async def wait_synced(self, app: str | None = None, *, seconds: float) -> bool:
        """Wait until everything is known, of all apps or of this one; False when it is not in time."""
        try:
            async with asyncio.timeout(seconds):
                while not self.synced(app):
                    self._progress.clear()
                    await self._progress.wait()
        except TimeoutError:
            return self.synced(app)
        return True

    def silence(self) -> float:
        """For how many seconds the cluster has not been heard of; 0 while it is."""
        running = [self._running[kind, None][0] for kind in _TELLING if (kind, None) in self._running]
        lost = [watcher.lost_at for watcher in running]
        since = min((time for time in lost if time is not None), default=None)
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    def wake(self, app: str) -> None:
        """Tell those who follow `watch` to look at that app, although nothing has changed but the time."""
        self._watchers.changed(app)

    def wake_when_back(self, app: str) -> None:
        """Tell them so as soon as the cluster is heard of again: nothing can be done for that app before."""
        self._missed.add(app)

    def find(self, kind: Kind, app: str, name: str) -> Entry | None:
        """One object of an app; None when there is none of ours. Not to be changed."""
        return self._store.get(kind, app, name)

    def entries(self, kind: Kind, app: str) -> Mapping[str, Entry]:
        """All objects of that kind of an app by name. Not to be changed, nor kept across an await."""
        return self._store.of(kind, app)

    def objects(self, kind: Kind, app: str) -> tuple[Manifest, ...]:
        """The same as the API server would give them, trimmed. Not to be changed."""
        return tuple(entry.object for entry in self._store.of(kind, app).values())

    def apps(self) -> frozenset[str]:
        """Every app that has a namespace."""
        return self._store.apps()

    def count(self) -> int:
        """How many objects are kept."""
        return self._store.count()

    def take_written(self, live: Manifest) -> Entry:
        """Take over the answer to a write, so that nobody writes the same again before the watch has told of it."""
        kind = kind_of(live)
        entry = entry_of(kind, live)
        labels = live["metadata"].get("labels") or {}
        if not kind.labelled or all(labels.get(key) == value for key, value in OURS.items()):
            self._store.take_written(kind, entry)
        return entry

    def take_deleted(self, kind: Kind, app: str, name: str, *, uid: str) -> None:
        """Take over that we have deleted an object."""
        self._store.remove_deleted(kind, app, name, uid=uid)

    async def wait(self, app: str, condition: Callable[[], bool], *, seconds: float) -> bool:
        """Wait until something of the app has changed so that `condition` holds; False when it does not in time."""
        return await self._store.wait(app, condition, seconds=seconds)

    def look_again(self) -> None:
        """Look now for kinds that the cluster lacked so far, as somebody wants one."""
        self._look_again.set()

    def _start(self, kind: Kind, app: str | None = None) -> None:
        """Watch a kind in one namespace or everywhere, unless that is so already or cannot be."""
        is_there = kind in self._kinds and self._client.served.version(kind) is not None
        is_wanted = is_there and (kind.watched == "namespace") == (app is not None)
        if not is_wanted or (kind, app) in self._running:
            return
        labels = SELECTOR if kind.labelled else ""
        watcher = Watcher(
            self._client,
            self._store,
            kind,
            app,
            labels=labels,
            on_synced=self._on_synced,
            on_heard=self._on_heard,
            is_fresh=kind in _TELLING,
        )
        task = self._tasks.start(f"watch-{kind.plural}", lambda: self._watch(watcher))
        self._running[kind, app] = (watcher, task)
        task.add_done_callback(lambda _: self._ended(kind, app, task))

    async def _watch(self, watcher: Watcher) -> None:
        if watcher.kind is EVENT:  # kept for our namespaces only, so these must be known
            await self._namespaces_known.wait()
        await watcher.run(self._lists)
        self._client.served.forget(watcher.kind)
        self.look_again()

    def _ended(self, kind: Kind, app: str | None, task: asyncio.Task[None]) -> None:
        running = self._running.get((kind, app))
        if running is not None and running[1] is task:
            del self._running[kind, app]
        self._progress.set()

    async def _discover(self) -> None:
        """Look now and then for kinds that were not there before."""
        served = self._client.served
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(_DISCOVERY_SECONDS if served.is_known else _FIRST_DISCOVERY_SECONDS):
                    await self._look_again.wait()
            self._look_again.clear()
            if self._kinds <= served.kinds():
                continue
            try:
                new = await self._client.discover()
            except ClusterError as exc:
                log.warning("cluster_discovery_failed", error=exc.detail)
                continue
            self._progress.set()
            for kind in new:
                log.info("cluster_kind_found", kind=kind.kind)
                self._start(kind)
            if new:  # what could not be written for want of them can be now
                for app in self._store.apps():
                    self.wake(app)

    def _are_secrets_settled(self, app: str) -> bool:
        running = self._running.get((SECRET, app))
        return (running is not None and (running[0].is_synced or running[0].is_denied)) or self._is_going(app)

    def _is_going(self, app: str) -> bool:
        """Its namespace is on its way out: our rights in it may be gone already."""
        space = self._store.get(NAMESPACE, app, app)
        return space is not None and space.is_terminating

    def _on_synced(self) -> None:
        if self._running[NAMESPACE, None][0].is_synced:
            self._namespaces_known.set()
        self._progress.set()

    def _on_heard(self, seconds: float) -> None:
        if seconds > LONG_SECONDS:
            self.back_at = asyncio.get_running_loop().time()
        for watcher, _ in self._running.values():
            watcher.hurry()
        if self.silence():
            return
        missed, self._missed = self._missed, set()
        if missed:
            log.info("cluster_back", apps=len(missed))
        for app in missed:
            self._watchers.changed(app)

    def _on_change(self, app: str) -> None:
        self._follow_namespace(app)
        self._watchers.changed(app)

    def _follow_namespace(self, app: str) -> None:
        """Watch the Secrets of an app as long as it has a namespace."""
        is_there = self._store.get(NAMESPACE, app, app) is not None
        if is_there and not self._is_closed:
            self._start(SECRET, app)
            if (SECRET, app) in self._running:
                self._running[SECRET, app][0].is_ending = self._is_going(app)
        elif not is_there and (running := self._running.pop((SECRET, app), None)) is not None:
            running[1].cancel()
            self._store.replace(SECRET, app, (), version=sys.maxsize)
