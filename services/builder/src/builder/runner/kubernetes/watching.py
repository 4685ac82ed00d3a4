"""The Job of a build and its pod as the cluster tells of them: two watches, which outlive every broken connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from builder.runner.kubernetes.kinds import BUILD, JOB, POD
from shared.kubernetes.client import Client
from shared.kubernetes.errors import ClusterGoneError, ClusterSilentError, ClusterUnavailableError
from shared.kubernetes.kinds import Kind, Manifest
from shared.logging import get_logger

_WATCH_SECONDS: Final = 300
_FIRST_PAUSE_SECONDS: Final = 0.5
_LONGEST_PAUSE_SECONDS: Final = 10.0
log = get_logger(__name__)
T = TypeVar("T")


class Seen:
    """What is known of a build in the cluster. `job` and `pod` are None while, or as soon as, there is none."""

    def __init__(self, client: Client[Kind], namespace: str, build_id: str) -> None:
        self._client = client
        self._namespace = namespace
        self._labels = f"{BUILD}={build_id}"
        self._objects: dict[Kind, Manifest | None] = {}
        self._current: set[Kind] = set()
        self._changed = asyncio.Event()
        self._broken: BaseException | None = None

    @property
    def job(self) -> Manifest | None:
        return self._objects.get(JOB)

    @property
    def pod(self) -> Manifest | None:
        return self._objects.get(POD)

    @property
    def is_current(self) -> bool:
        """Whether the API server tells us of every change now."""
        return self._current == {JOB, POD}

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keep it true during the block; it begins when both are known.

        Raises:
            ClusterError: the API server refuses to tell; at `until` when that comes later.
        """
        tasks = [asyncio.create_task(self._follow(kind), name=f"watch {kind.plural} of a build") for kind in (JOB, POD)]
        try:
            await self.until(lambda seen: {JOB, POD} <= seen._objects.keys() or None)
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def until(self, ask: Callable[[Seen], T | None], *, seconds: float | None = None) -> T:
        """The first answer that is not None, asked at every change.

        Raises:
            TimeoutError: there was none within so many seconds.
            ClusterError: the API server refuses to tell any more.
        """
        async with asyncio.timeout(seconds):
            while True:
                changed = self._changed
                if self._broken is not None:
                    raise self._broken
                answer = ask(self)
                if answer is not None:
                    return answer
                await changed.wait()

    async def _follow(self, kind: Kind) -> None:
        try:
            await self._keep_following(kind)
        except Exception as exc:
            self._broken = exc
            self._tell()

    async def _keep_following(self, kind: Kind) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while True:
            try:
                version = await self._list(kind)
                pause = _FIRST_PAUSE_SECONDS
                while True:
                    version = await self._watch(kind, version)
            except (ClusterGoneError, ClusterSilentError):
                continue
            except ClusterUnavailableError as exc:
                log.info("build_watch_broken", kind=kind.kind, error=exc.code)
                self._current.discard(kind)
                self._tell()
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    async def _list(self, kind: Kind) -> str:
        listing = await self._client.list(kind, self._namespace, labels=self._labels)
        # There may be an older pod, of a machine that was lost; its Job has no other.
        self._current.add(kind)
        self.take(kind, max(listing.items, key=_age, default=None))
        return listing.resource_version

    async def _watch(self, kind: Kind, version: str) -> str:
        stream = self._client.watch(
            kind, self._namespace, labels=self._labels, resource_version=version, timeout_seconds=_WATCH_SECONDS
        )
        async for event in stream:
            version = event.resource_version
            if event.type == "DELETED":
                known = self._objects.get(kind)
                if known is not None and known["metadata"]["uid"] == event.object["metadata"]["uid"]:
                    self.take(kind, None)
            elif event.type != "BOOKMARK":
                self.take(kind, event.object)
        return version

    def take(self, kind: Kind, found: Manifest | None) -> None:
        """What a watch tells: that is how the object is now."""
        self._objects[kind] = found
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _age(manifest: Manifest) -> str:
    return str(manifest["metadata"].get("creationTimestamp") or "")
