"""The files of all volumes: finds a filer, or starts one, and runs there what reads and writes (kubernetes.md 2.11)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final
from weakref import WeakValueDictionary

from controller.engine.kubernetes import names
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.exec import open_exec
from controller.engine.kubernetes.filer_pods import FilerPods
from controller.engine.kubernetes.filer_scripts import Head
from controller.engine.kubernetes.filer_talk import Talk
from controller.engine.kubernetes.kinds import NAMESPACE, PERSISTENT_VOLUME_CLAIM
from controller.engine.kubernetes.manifests.filer import CONTAINER
from controller.engine.kubernetes.pod_files import AT_A_TIME, PodFiles
from controller.engine.port import FileStore
from shared.clock import Clock
from shared.errors import NotFoundError, UnavailableError
from shared.kubernetes.errors import ClusterForbiddenError, ClusterNotFoundError
from shared.logging import get_logger

_HEAD_SECONDS: Final = 30.0
_TRIES: Final = 3
_PAUSE_SECONDS: Final = 0.2
log = get_logger(__name__)


class Filers:
    """The files of all volumes. Filers are started when somebody needs one, and end by themselves."""

    def __init__(self, client: Client, cache: Cache, config: KubernetesConfig, *, clock: Clock | None = None) -> None:
        self._client = client
        self._cache = cache
        self._pods = FilerPods(client, cache, config, clock=clock)
        self._slots: WeakValueDictionary[tuple[str, str], asyncio.Semaphore] = WeakValueDictionary()

    async def store(self, app: str, volume: str) -> FileStore:
        """See `Engine.files`. Nothing is started yet.

        Raises:
            NotFoundError: the app has no such volume, or it is about to go.
        """
        claim = names.volume_claim(volume)
        if not await self._has(app, claim):
            raise NotFoundError(f"{app} has no volume {volume}")

        async def opener(command: Sequence[str], *, stdin: bool = False) -> tuple[Talk, Head]:
            return await self._opened(app, claim, command, stdin=stdin)

        slots = self._slots.setdefault((app, claim), asyncio.Semaphore(AT_A_TIME))
        return PodFiles(opener, slots=slots)

    async def sweep(self, app: str) -> None:
        """End the filers of volumes that are to go: a claim stays as long as a pod uses it."""
        await self._pods.sweep(app)

    async def close(self) -> None:
        """Give up what is being started."""
        await self._pods.close()

    async def _has(self, app: str, claim: str) -> bool:
        entry = self._cache.find(PERSISTENT_VOLUME_CLAIM, app, claim)
        if entry is not None:
            return not entry.is_terminating
        if self._cache.find(NAMESPACE, app, app) is None:
            return False  # and nobody has given us rights there
        try:
            live = await self._client.get(PERSISTENT_VOLUME_CLAIM, claim, app)
        except (ClusterNotFoundError, ClusterForbiddenError):  # our rights are in the namespaces of our apps
            return False
        labels = live["metadata"].get("labels") or {}
        is_ours = all(labels.get(key) == value for key, value in names.labels(app).items())
        return is_ours and not live["metadata"].get("deletionTimestamp")

    async def _opened(self, app: str, claim: str, command: Sequence[str], *, stdin: bool) -> tuple[Talk, Head]:
        """Run a script and read its first line; in another filer when that one has gone."""
        tries = 0
        while True:
            pod = await self._pods.ready(app, claim)
            try:
                return await self._begun(app, claim, pod, command, stdin=stdin)
            except (NotFoundError, UnavailableError) as exc:
                tries += 1
                log.info("filer_lost", app=app, claim=claim, pod=pod, error=exc.detail)
                if tries == _TRIES:
                    raise UnavailableError(f"the files of {claim} cannot be reached: {exc.detail}") from exc
            await asyncio.sleep(_PAUSE_SECONDS)
            await self._pods.look(app, pod)

    async def _begun(self, app: str, claim: str, pod: str, command: Sequence[str], *, stdin: bool) -> tuple[Talk, Head]:
        session = await open_exec(self._client, app, pod, CONTAINER, command=command, tty=False, stdin=stdin)
        talk = Talk(session, keep=self._pods.keeper(app, claim))
        try:
            return talk, await talk.head(seconds=_HEAD_SECONDS)
        except BaseException:
            await talk.close()
            raise
