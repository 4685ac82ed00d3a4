"""The engine that runs apps on Kubernetes: every app is a namespace, and the cluster's own controllers do the work.

What an app should be is rendered, compared with what the watches have told, and written where it differs
(kubernetes.md 5.5). Nothing here waits for pods: whoever follows `watch` hears of every change, and looks again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Final
from weakref import WeakValueDictionary

from controller.domain.builds import LOCAL_PREFIXES
from controller.domain.spec import AppObservation, AppSpec, EngineEvent, Failure, JobSpec, JobState, ProcessSpec
from controller.domain.spec_network import NetworkObservation, NetworkSpec
from controller.domain.spec_storage import VolumeSpec
from controller.engine.kubernetes.apply import Applied, Applier, ObjectError
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.claims import as_they_are, refuse_growth
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.exec import open_exec
from controller.engine.kubernetes.facts import name_of, uid_of
from controller.engine.kubernetes.features import features_of, lack_of
from controller.engine.kubernetes.files import Filers
from controller.engine.kubernetes.instances import container_of, pod_of
from controller.engine.kubernetes.jobs import Jobs
from controller.engine.kubernetes.kinds import (
    ALL,
    JOB,
    NAMESPACE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    SHOWN,
    WATCHED,
    kind_of,
)
from controller.engine.kubernetes.last_lines import LastLines
from controller.engine.kubernetes.logs import Logs
from controller.engine.kubernetes.machines import has_machine
from controller.engine.kubernetes.manifests import check_handlers, render
from controller.engine.kubernetes.manifests.network import render_network_manifests
from controller.engine.kubernetes.manifests.network_limits import check_limits
from controller.engine.kubernetes.manifests.volumes import render_volume
from controller.engine.kubernetes.namespaces import NamespaceTakenError
from controller.engine.kubernetes.observe import Look, events_of
from controller.engine.kubernetes.reasons import QUOTA_PATIENCE
from controller.engine.kubernetes.removal import remove
from controller.engine.kubernetes.seen import network_of, pending_hosts, seen_of
from controller.engine.kubernetes.watcher import LONG_SECONDS
from controller.engine.port import EngineAwayError, ExecSession, Feature, FileStore, NotSupportedError
from shared.clock import Clock, SystemClock
from shared.errors import NotFoundError, SuiteError
from shared.kubernetes.errors import (
    ClusterDeniedError,
    ClusterError,
    ClusterInvalidError,
    ClusterUnavailableError,
)
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import Access
from shared.logging import get_logger

START_SECONDS: Final = 30.0
"""How long the start waits for all that the cluster has; it goes on without."""
KNOWN_SECONDS: Final = 10.0
"""How long a call waits until everything is known of its app."""
SILENCE_SECONDS: Final = LONG_SECONDS
"""A cluster that was not heard of for so long is away: what is known of it does not count."""
REMOVE_SECONDS: Final = 2.0
"""How long a removal is waited for: the reconciler has others to do, and comes again when the namespace is gone."""

_LATER: Final = QUOTA_PATIENCE + timedelta(seconds=2)
_FINAL: Final = (ClusterDeniedError, ClusterInvalidError, NamespaceTakenError)
_OPTIONAL: Final = frozenset(kind.kind for kind in ALL if kind.addon is not None)
"""What leads requests to what runs: an app runs without, so that no release fails for it."""
log = get_logger(__name__)


class KubernetesEngine:
    """Implements `engine.port.Engine`."""

    def __init__(self, access: Access, config: KubernetesConfig | None = None, *, clock: Clock | None = None) -> None:
        self._config = config or KubernetesConfig()
        self._clock = clock or SystemClock()
        self.client = Client(access)
        """What talks to the API server; its `calls` count what was sent."""
        self._cache = Cache(self.client, kinds=WATCHED if self._config.is_worker else SHOWN)
        self._applier = Applier(self.client, self._cache, clock=self._clock)
        self._logs = Logs(self.client, self._cache)
        self._jobs = Jobs(self.client, self._cache, self._logs, self._config, self._put, clock=self._clock)
        self._filers = Filers(self.client, self._cache, self._config, clock=self._clock)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._problems: dict[str, tuple[ObjectError, ...]] = {}
        self._looks: dict[str, asyncio.TimerHandle] = {}
        self._last_lines = LastLines(self._logs, self._clock)

    @property
    def features(self) -> frozenset[Feature]:
        """What the cluster has: gateways and TLS need the Gateway API and a class for gateways, certificates that come
        by themselves need cert-manager as well."""
        return features_of(self.client.served, self._config.gateway_class)

    def why_not(self, what: str) -> str | None:
        """See `Engine.why_not`. What is missing is looked for, so that it may be there at the next request."""
        found = lack_of(what, self.client.served, self._config.gateway_class)
        if found is not None:
            self._cache.look_again()
        return found

    async def start(self) -> None:
        """Learn what the cluster has. One that does not answer now is tried again for as long as this runs.

        Raises:
            InvalidInputError: there is no usable configuration.
        """
        try:
            await self.client.open()
        except ClusterError as exc:
            log.warning("cluster_away", error=exc.detail)
        await self._cache.start()
        if not await self._cache.wait_synced(seconds=START_SECONDS):
            log.warning("cluster_not_known_yet", seconds=START_SECONDS)

    async def close(self) -> None:
        """Close all connections; the apps run on."""
        for look in self._looks.values():
            look.cancel()
        self._looks.clear()
        await self._filers.close()
        await self._cache.close()
        await self.client.close()

    async def apply(self, spec: AppSpec) -> None:
        """See `Engine.apply`; everything is written when this returns.

        What only leads requests to the app (gateways, routes, certificates) fails for itself: `network` tells why.

        Raises:
            NotSupportedError: the spec asks for what a cluster cannot have.
            NamespaceTakenError: the namespace of that name is somebody else's.
            ClusterDeniedError, ClusterInvalidError: the cluster will not have it, in its own words.
            ClusterUnavailableError: it does not answer, or something else stands in the way for now.
        """
        async with self._reaching(spec.app), self._alone(spec.app):
            pending = pending_hosts(self._cache, spec.app, spec.network, self._config)
            manifests = render(spec, self._config, pending=pending)
            applied = await self._applier.apply(spec.app, as_they_are(self._cache, spec.app, manifests))
        self._note_problems(spec.app, applied)
        await self._filers.sweep(spec.app)
        await self._jobs.sweep(spec.app)
        _raise_for(applied)

    async def remove(self, app: str) -> None:
        """See `Engine.remove`."""
        space = self._cache.find(NAMESPACE, app, app)
        seconds = 0.0 if space is not None and space.is_terminating else REMOVE_SECONDS
        async with self._reaching(app), self._alone(app):
            await remove(self.client, self._cache, app, seconds=seconds)
        self._applier.forget(app)
        self._problems.pop(app, None)

    def watch(self) -> AsyncIterator[str]:
        """See `Engine.watch`."""
        return self._cache.watch()

    async def observe(self, app: str) -> AppObservation:
        """See `Engine.observe`. Reads the last lines of what has failed, and nothing else, from the cluster."""
        look = self._look_at(app)
        logs = {ptype: await self._last_lines.of(app, finding) for ptype, finding in look.failures.items()}
        observation = look.observation(logs)
        if any(not state.settled for state in observation.ptypes):
            self._look_later(app)
        return observation

    async def explain(self, app: str, ptype: str) -> Failure | None:
        """See `Engine.explain`."""
        finding = self._look_at(app).explain(ptype)
        return None if finding is None else finding.failure(ptype, await self._last_lines.of(app, finding))

    async def events(
        self, app: str, *, instance: str | None = None, ptype: str | None = None
    ) -> tuple[EngineEvent, ...]:
        """See `Engine.events`."""
        return events_of(seen_of(self._cache, app), instance=instance, ptype=ptype)

    async def network(self, app: str) -> NetworkObservation:
        """See `Engine.network`."""
        return network_of(self._cache, app, self._problems.get(app, ()))

    async def check_volume(self, app: str, volume: VolumeSpec) -> None:
        """See `Engine.check_volume`: the API server is asked, and changes nothing."""
        if self._cache.find(NAMESPACE, app, app) is None:
            return  # it comes with the first release
        for manifest in as_they_are(self._cache, app, render_volume(app, volume, self._config)):
            if kind_of(manifest) is PERSISTENT_VOLUME_CLAIM:
                known = self._cache.find(PERSISTENT_VOLUME_CLAIM, app, name_of(manifest))
                refuse_growth(None if known is None else known.object, manifest)
                await self.client.apply(manifest, dry_run=True)

    async def files(self, app: str, volume: str) -> FileStore:
        """See `Engine.files`."""
        return await self._filers.store(app, volume)

    async def run(self, job: JobSpec) -> None:
        """See `Engine.run`."""
        async with self._reaching(job.app):
            await self._jobs.run(job)

    async def job(self, app: str, name: str) -> JobState | None:
        """See `Engine.job`."""
        async with self._reaching(app):
            return await self._jobs.state(app, name)

    async def stop_job(self, app: str, name: str) -> None:
        """See `Engine.stop_job`."""
        async with self._reaching(app):
            await self._jobs.stop(app, name)

    def logs(self, app: str, *, instance: str | None, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """See `Engine.logs`."""
        return self._logs.stream(app, instance=instance, lines=lines, follow=follow)

    async def exec(self, app: str, instance: str, *, command: Sequence[str], tty: bool, stdin: bool) -> ExecSession:
        """See `Engine.exec`."""
        pod = pod_of(self._cache, app, instance)
        if pod is None:
            raise NotFoundError(f"{instance} does not run; see `drycc ps` for what does")
        return await open_exec(self.client, app, name_of(pod), container_of(pod), command=command, tty=tty, stdin=stdin)

    async def stop_instance(self, app: str, instance: str) -> None:
        """See `Engine.stop_instance`."""
        if self._cache.find(JOB, app, instance) is not None:
            await self._jobs.stop(app, instance)
            return
        entry = self._cache.find(POD, app, instance)
        if entry is not None:
            await self.client.delete(POD, instance, app, uid=uid_of(entry.object) or None)

    def has_machine(self, tags: Mapping[str, str]) -> bool:
        """See `Engine.has_machine`."""
        return has_machine(self._cache, tags)

    def check(self, process: ProcessSpec) -> None:
        """See `Engine.check`."""
        if not process.image or process.image.startswith(LOCAL_PREFIXES):
            raise NotSupportedError(
                "a cluster runs container images, and this build is none: push again, or deploy an image"
            )
        check_handlers(process)

    def check_network(self, app: str, network: NetworkSpec) -> None:
        """See `Engine.check_network`."""
        if "gateways" in self.features:
            check_limits(render_network_manifests(app, network, self._config))

    async def _put(self, app: str, manifests: Sequence[Manifest]) -> Applied:
        async with self._alone(app):
            applied = await self._applier.put(manifests)
        _raise_for(applied)
        return applied

    def _look_at(self, app: str) -> Look:
        seen, now, back_at = seen_of(self._cache, app), self._clock.now(), self._cache.back_at
        if back_at is not None:
            ago = timedelta(seconds=asyncio.get_running_loop().time() - back_at)
            seen = replace(seen, heard_since=now - ago)
        return Look(app, seen, now)

    @asynccontextmanager
    async def _reaching(self, app: str) -> AsyncIterator[None]:
        """For what needs the cluster: all is known of the app. Who cannot be served is told when the cluster is back.

        Raises:
            EngineAwayError: it is away.
            ClusterUnavailableError: not everything is known yet, or the cluster does not answer to this.
        """
        try:
            await self._know(app)
            yield
        except (EngineAwayError, ClusterUnavailableError) as exc:
            if not self._cache.silence():
                raise
            self._cache.wake_when_back(app)
            raise EngineAwayError(exc.detail) from exc

    async def _know(self, app: str) -> None:
        if self._cache.silence() > SILENCE_SECONDS:
            raise EngineAwayError("The cluster cannot be reached: its API server does not answer")
        if self._cache.synced(app):
            return
        if not await self._cache.wait_synced(app, seconds=KNOWN_SECONDS):
            raise ClusterUnavailableError("see what runs", "not everything that the cluster has is known yet")

    def _alone(self, app: str) -> asyncio.Lock:
        """Who holds it is the only one of this process who writes objects of that app."""
        return self._locks.setdefault(app, asyncio.Lock())

    def _note_problems(self, app: str, applied: Applied) -> None:
        told = tuple(error for error in applied.errors if _is_optional(error))
        if told == self._problems.get(app, ()):
            return
        for error in told:
            log.warning("object_not_applied", app=app, kind=error.kind, name=error.name, error=error.message)
        if told:
            self._problems[app] = told
        else:
            self._problems.pop(app, None)

    def _look_later(self, app: str) -> None:
        """Some reasons are final only after a time in which the cluster has nothing new to say."""
        if app not in self._looks:
            loop = asyncio.get_running_loop()
            self._looks[app] = loop.call_later(_LATER.total_seconds(), self._look, app)

    def _look(self, app: str) -> None:
        del self._looks[app]
        self._cache.wake(app)


def _is_optional(error: ObjectError) -> bool:
    return error.kind in _OPTIONAL


def _raise_for(applied: Applied) -> None:
    """What keeps the app itself from being what it should be.

    What will not pass is raised as it is; the rest is worth another try.
    """
    causes = []
    for error in applied.errors:
        if not _is_optional(error) and error.cause is not None:
            error.cause.facts["ptype"] = error.ptype
            causes.append(error.cause)
    final = next((cause for cause in causes if isinstance(cause, _FINAL)), None)
    if final is not None:
        raise final
    for cause in causes:
        raise cause if cause.status >= 500 else _passing(cause)


def _passing(cause: SuiteError) -> ClusterUnavailableError:
    """An error that may be another's doing, and be gone at the next look."""
    if isinstance(cause, ClusterError):
        return ClusterUnavailableError(cause.action, cause.words, reason=cause.reason, http_status=cause.http_status)
    return ClusterUnavailableError("apply it", cause.detail)
