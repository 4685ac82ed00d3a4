"""The runner that builds in a cluster: each build is a Job, which lives on whatever becomes of this process."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from pathlib import Path
from typing import Final
from uuid import UUID

from builder.domain.images import pinned
from builder.runner.checks import make_plan
from builder.runner.kubernetes.absence import AWAY, BACK, telling_absence
from builder.runner.kubernetes.builder_images import BuilderImages
from builder.runner.kubernetes.config import KubernetesRunnerConfig
from builder.runner.kubernetes.kinds import EVENT, FIELD_MANAGER, JOB, KINDS, SECRET
from builder.runner.kubernetes.manifests import STATIC_START, left_out_of, name_of, render
from builder.runner.kubernetes.sources import Sources
from builder.runner.kubernetes.states import (
    containers_of,
    failure_of,
    failure_of_job,
    has_started,
    images_of,
    is_over,
    why_waiting,
)
from builder.runner.kubernetes.streaming import Streamer
from builder.runner.kubernetes.watching import Seen
from builder.runner.port import BuildFailedError, BuildResult, BuildSpec, Log, Plan, Tree
from shared.kubernetes.client import Client
from shared.kubernetes.errors import (
    ClusterConflictError,
    ClusterDeniedError,
    ClusterError,
    ClusterInvalidError,
    ClusterNotFoundError,
    ClusterUnavailableError,
)
from shared.kubernetes.kinds import Kind, Manifest
from shared.kubernetes.transport import Access
from shared.logging import get_logger

_TELL_AFTER: Final = timedelta(seconds=3)
"""A pod that has not started by then is told of: why, and again whenever that changes."""
_AWAY_PAUSE_SECONDS: Final = 5.0
_NOT_STARTED_HINT: Final = "Push again later, or ask the platform's operator for room for builds."
log = get_logger(__name__)


class KubernetesRunner:
    """Builds in Jobs; see `builder.runner.port.Runner`."""

    def __init__(self, access: Access, config: KubernetesRunnerConfig, sources: Sources) -> None:
        self._client: Client[Kind] = Client(access, KINDS, manager=FIELD_MANAGER)
        self._config = config
        self._sources = sources
        self._builders = BuilderImages(config)

    async def start(self) -> None:
        """Read where the cluster is.

        Raises:
            InvalidInputError: there is no usable configuration.
            ClusterError: the API server does not answer, or not to us.
        """
        await self._client.open()

    async def close(self) -> None:
        """Stop listening; the builds go on."""
        await self._client.close()

    async def check(self, tree: Tree, spec: BuildSpec) -> Plan:
        """Early checks; see `Runner.check`."""
        return await make_plan(tree, spec, static_start=STATIC_START, choose=self._builders.choose)

    async def build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        """Build completely; see `Runner.build`. When this is cancelled the Job goes on: `end` ends it."""
        if isinstance(source, Path):
            raise TypeError("a build in a cluster takes its source from a repository")
        await self._sources.put(source, spec)
        for note in plan.notes:
            await log.write(f"---> {note}\n")
        if left_out := left_out_of(spec, plan):
            why = "it has its own or cannot have the name"
            await log.write(f"---> Not given to the build, as {why}: {', '.join(left_out)}\n")
        return await self._carry_out(spec, plan, log)

    async def resume(self, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        """Bring a build to its end whose source is kept, or which has begun; see `LastingRunner.resume`."""
        if await self._sources.is_lost(spec) and not await self._has_begun(spec):
            why = "the builder was stopped before it had stored the source"
            raise BuildFailedError("interrupted", why, hint="Nothing was deployed; push again.")
        return await self._carry_out(spec, plan, log)

    async def _has_begun(self, spec: BuildSpec) -> bool:
        """Whether its Job is there; also when nobody can tell now."""
        try:
            await self._client.get(JOB, name_of(spec), self._config.namespace)
        except ClusterNotFoundError:
            return False
        except ClusterError as exc:
            log.warning("build_not_seen", build_id=str(spec.build_id), error=exc.detail)
        return True

    async def _carry_out(self, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        try:
            await self._created(spec, plan, log)
            return await self._follow(spec, plan, log)
        except ClusterError as exc:
            raise _failure(exc) from exc

    async def end(self, spec: BuildSpec) -> None:
        """Remove Job, Secret and source of a build whose end is recorded; see `LastingRunner.end`."""
        for kind in (JOB, SECRET):
            await self._client.delete(kind, name_of(spec), self._config.namespace)
        await self._sources.remove(spec)

    async def discard(self, app: str, keep: set[UUID] | None) -> None:
        """Remove what storage has of a deleted app; builds that have ended left nothing there. See `Runner.discard`."""
        if keep is None:
            await self._sources.remove_app(app)

    async def _created(self, spec: BuildSpec, plan: Plan, log: Log) -> None:
        creating = asyncio.create_task(self._insist_on_creating(spec, plan), name=f"create-{spec.build_id}")
        try:
            _, waiting = await asyncio.wait({creating}, timeout=_TELL_AFTER.total_seconds())
            if waiting:
                await log.write(AWAY)
            await creating
            if waiting:
                await log.write(BACK)
        finally:
            creating.cancel()
            await asyncio.wait({creating})

    async def _insist_on_creating(self, spec: BuildSpec, plan: Plan) -> None:
        """An API server that is away takes time from no build, within reason."""
        end = asyncio.get_running_loop().time() + self._config.start_timeout.total_seconds()
        while True:
            try:
                return await self._create(spec, plan)
            except ClusterUnavailableError as exc:
                if asyncio.get_running_loop().time() > end:
                    raise
                log.warning("build_not_created_yet", build_id=str(spec.build_id), error=exc.detail)
            await asyncio.sleep(_AWAY_PAUSE_SECONDS)

    async def _create(self, spec: BuildSpec, plan: Plan) -> None:
        """Make Secret and Job, unless they are there; the Secret goes with the Job, whatever becomes of us."""
        secret, job = render(spec, plan, self._config)
        name = name_of(spec)
        with contextlib.suppress(ClusterConflictError):
            await self._client.create(secret)
        try:
            made = await self._client.create(job)
        except ClusterConflictError:
            made = await self._client.get(JOB, name, self._config.namespace)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": name, "uid": made["metadata"]["uid"]}
        await self._client.patch(SECRET, name, self._config.namespace, merge={"metadata": {"ownerReferences": [owner]}})

    async def _follow(self, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        seen = Seen(self._client, self._config.namespace, str(spec.build_id))
        streamer = Streamer(self._client, self._config.namespace, seen, log)
        async with telling_absence(seen, log, after=_TELL_AFTER), seen.following():
            try:
                pod = await self._run_through(seen, streamer, spec, log)
            except BuildFailedError as error:
                raise BuildFailedError(error.code, error.message, log=streamer.tail, hint=error.hint) from error
        images = images_of(pod)
        if images is None or ("web" not in images and plan.dockerfile):
            raise BuildFailedError("internal", "the build ended without telling what it has made", log=streamer.tail)
        main = images.get("web") or next(iter(images.values()))
        dryccfile = pinned(plan.dryccfile, images)
        return BuildResult(
            main, plan.stack, dict(plan.procfile), dryccfile, plan.dockerfile, images=tuple(images.values())
        )

    async def _run_through(self, seen: Seen, streamer: Streamer, spec: BuildSpec, log: Log) -> Manifest:
        """Write what each container says, in their order; gives the pod that has come to a good end."""
        pod = await self._started(seen, None, spec, log)
        names = containers_of(pod)
        begun = streamer.position.container
        for name in names[names.index(begun) if begun in names else 0 :]:
            pod = await self._started(seen, name, spec, log)
            if is_over(pod) and not has_started(pod, name):
                raise failure_of(pod)
            await streamer.stream(pod["metadata"]["name"], name)
        pod = await seen.until(_over_or_lost)
        if (pod.get("status") or {}).get("phase") != "Succeeded":
            raise failure_of(pod)
        return pod

    async def _started(self, seen: Seen, container: str | None, spec: BuildSpec, log: Log) -> Manifest:
        """The pod as soon as it is there and that container has started, with why it takes so long for the pusher."""
        told, waited = "", 0.0
        while True:
            try:
                return await seen.until(
                    lambda now: _started_or_over(now, container), seconds=_TELL_AFTER.total_seconds()
                )
            except TimeoutError:
                if not seen.is_current:  # nobody knows what it waits for
                    continue
                waited += _TELL_AFTER.total_seconds()
            why = why_waiting(seen.pod) if seen.pod is not None else await self._why_no_pod(spec)
            if why is not None and why != told:
                told = why
                await log.write(f"---> The build waits: {why}\n")
            if why is not None and waited >= self._config.start_timeout.total_seconds():
                raise BuildFailedError("not-started", f"the build could not be started: {why}", hint=_NOT_STARTED_HINT)

    async def _why_no_pod(self, spec: BuildSpec) -> str | None:
        fields = f"involvedObject.name={name_of(spec)},type=Warning"
        try:
            events = (await self._client.list(EVENT, self._config.namespace, fields=fields)).items
        except ClusterUnavailableError:
            return None  # `_tell_absence` says so
        newest = max(events, key=lambda one: str(one.get("lastTimestamp") or one.get("eventTime") or ""), default=None)
        return str(newest.get("message")) if newest is not None else None


def _started_or_over(seen: Seen, container: str | None) -> Manifest | None:
    """The pod, when that container (None: any pod) has started or never will.

    Raises:
        BuildFailedError: there is no pod, and there will be none.
    """
    pod = seen.pod
    if pod is None:
        _raise_if_lost(seen)
        return None
    return pod if container is None or has_started(pod, container) or is_over(pod) else None


def _over_or_lost(seen: Seen) -> Manifest | None:
    pod = seen.pod
    if pod is None:
        _raise_if_lost(seen)
        return None
    return pod if is_over(pod) else None


def _raise_if_lost(seen: Seen) -> None:
    if seen.job is None:
        raise BuildFailedError("interrupted", "the build was removed from the cluster", hint="Push again.")
    if (error := failure_of_job(seen.job)) is not None:
        raise error


def _failure(exc: ClusterError) -> BuildFailedError:
    """The cluster's own words; whether the app or the platform must change follows from the kind of error."""
    if isinstance(exc, ClusterDeniedError | ClusterInvalidError):
        return BuildFailedError("not-started", exc.detail, hint="The cluster's rules stand against this build.")
    if isinstance(exc, ClusterNotFoundError):
        return BuildFailedError("not-started", exc.detail, hint="Tell the platform's operator.")
    return BuildFailedError("interrupted", exc.detail, hint="Push again in a moment.")
