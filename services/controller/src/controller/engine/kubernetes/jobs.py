"""One-offs and commands of the release phase as Jobs (kubernetes.md 1.6 and 2.9; weaknesses 15, 23, 43)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from controller.domain.spec import LAST_LINES, JobSpec, JobState
from controller.engine.kubernetes import names
from controller.engine.kubernetes.apply import Applied
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.facts import (
    Events,
    condition,
    holds,
    moment,
    name_of,
    note,
    own_container,
    uid_of,
)
from controller.engine.kubernetes.findings import LogSource
from controller.engine.kubernetes.kinds import EVENT, JOB, PERSISTENT_VOLUME_CLAIM, POD
from controller.engine.kubernetes.logs import Logs
from controller.engine.kubernetes.manifests import render_foundation, render_job
from controller.engine.kubernetes.observe_jobs import hopeless, is_one_off, job_state, pods_of
from shared.clock import Clock
from shared.kubernetes.errors import ClusterError, ClusterInvalidError, ClusterNotFoundError
from shared.kubernetes.kinds import Manifest
from shared.logging import get_logger

STOPPED: Final = "stopped"
_NOTED_AFTER: Final = timedelta(seconds=10)
"""By then who started a one-off has written down how it ended."""
_SOON: Final = {"spec": {"activeDeadlineSeconds": 1}}
log = get_logger(__name__)

Put = Callable[[str, Sequence[Manifest]], Awaitable[Applied]]


class Jobs:
    """Starts one-offs, tells how they fare and ends them. `put` writes objects of an app, and raises what it is refused
    for."""

    def __init__(
        self, client: Client, cache: Cache, logs: Logs, config: KubernetesConfig, put: Put, *, clock: Clock
    ) -> None:
        self._client = client
        self._cache = cache
        self._logs = logs
        self._config = config
        self._put = put
        self._clock = clock

    async def run(self, job: JobSpec) -> None:
        """Start one, unless there is one of that name. It may come before anything else of its app."""
        if self._find(job.app, job.name) is not None:
            return
        await self._put(job.app, (*render_foundation(job.app, None, self._config), *render_job(job, self._config)))

    async def state(self, app: str, name: str) -> JobState | None:
        """Where it stands; its last lines when it has ended. One that can never start is ended."""
        job = self._find(app, name)
        if job is None:
            return None
        pods = pods_of(job, self._cache.objects(POD, app))
        events, now = Events(self._cache.objects(EVENT, app)), self._clock.now()
        state = job_state(name, job, pods, events, now)
        if not state.finished:
            return state
        lost = hopeless(job, pods, events, now)
        if lost is not None and not note(job, names.ENDED_FOR):
            await self._end(app, job, pods, lost.code)
        return job_state(name, job, pods, events, now, log=await self._last_lines(app, pods))

    async def stop(self, app: str, name: str) -> None:
        """End it before its time; one that has ended or is not known is left alone."""
        job = self._find(app, name)
        if job is None or holds(job, "Complete") or holds(job, "Failed"):
            return
        await self._end(app, job, pods_of(job, self._cache.objects(POD, app)), STOPPED)

    async def sweep(self, app: str) -> None:
        """Forget one-offs that ended a while ago with a volume that is to go: the cluster keeps a volume for as long as
        there is any pod with it, even one that has ended. Asks the cluster nothing when there are none."""
        for job in self._cache.objects(JOB, app):
            over, now = condition(job, "Complete") or condition(job, "Failed"), self._clock.now()
            ended = moment(over.get("lastTransitionTime"))
            if not is_one_off(job) or ended is None or now - ended < _NOTED_AFTER or not self._holds_up(app, job):
                continue
            log.info("job_forgotten", app=app, job=name_of(job), reason="its volume is to go")
            try:
                await self._client.delete(JOB, name_of(job), app, uid=uid_of(job) or None)
            except ClusterError as exc:  # it goes later by itself
                log.warning("job_not_forgotten", app=app, job=name_of(job), error=exc.detail)

    def _holds_up(self, app: str, job: Manifest) -> bool:
        """It has a volume that is to go."""
        pod = ((job.get("spec") or {}).get("template") or {}).get("spec") or {}
        claims = [(volume.get("persistentVolumeClaim") or {}).get("claimName") for volume in pod.get("volumes") or ()]
        entries = [self._cache.find(PERSISTENT_VOLUME_CLAIM, app, str(claim)) for claim in claims if claim]
        return any(entry is not None and entry.is_terminating for entry in entries)

    def _find(self, app: str, name: str) -> Manifest | None:
        entry = self._cache.find(JOB, app, names.job(name))
        return None if entry is None else entry.object

    async def _last_lines(self, app: str, pods: Sequence[Manifest]) -> tuple[str, ...]:
        own = own_container(pods[-1]) if pods else None
        if own is None or not (own.ended or own.running is not None):
            return ()
        return await self._logs.tail(app, LogSource(name_of(pods[-1]), own.name, previous=False), lines=LAST_LINES)

    async def _end(self, app: str, job: Manifest, pods: Sequence[Manifest], reason: str) -> None:
        """End it, and keep what it has said: the deadline of a pod ends that and leaves it there, while the deadline of
        a Job deletes its pod. The latter is for pods that no machine has taken, which have said nothing."""
        name = name_of(job)
        log.info("job_ended_early", app=app, job=name, reason=reason)
        try:
            await self._client.patch(JOB, name, app, merge={"metadata": {"annotations": {names.ENDED_FOR: reason}}})
            placed = [pod for pod in pods if (pod.get("spec") or {}).get("nodeName")]
            for pod in placed:
                await self._shorten(app, name_of(pod))
            if not placed:
                await self._client.patch(JOB, name, app, merge=_SOON)
        except ClusterNotFoundError:
            return  # gone meanwhile, which is as good

    async def _shorten(self, app: str, pod: str) -> None:
        try:
            await self._client.patch(POD, pod, app, merge=_SOON)
        except ClusterInvalidError as exc:
            log.info("job_not_shortened", app=app, pod=pod, error=exc.words)  # it has ended already
