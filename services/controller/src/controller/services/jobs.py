"""Use cases of one-off commands. Asking for one stores it; the worker (`background.jobs`) starts it and writes down
what becomes of it, so that an accepted one is neither lost nor started twice, whichever process dies when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.jobs import (
    NO_BUILD,
    Job,
    JobRequest,
    check_count,
    check_ptype,
    check_request,
    has_shell,
    job_name,
    job_process,
    job_spec,
)
from controller.domain.names import RUN
from controller.domain.page import Page
from controller.domain.releases import ReleaseBundle
from controller.domain.render import render_process
from controller.domain.spec import JobSpec, ProcessSpec
from controller.domain.spec_storage import Mount
from controller.repositories.jobs import JobRepository
from controller.services.base import AppService
from controller.services.volumes import Volumes
from controller.uow import Uow
from shared.db import notify, uuid7
from shared.errors import InvalidInputError, UnavailableError
from shared.logging import get_logger

JOBS_CHANNEL: Final = "jobs"
_NAMES_TO_TRY: Final = 5

log = get_logger(__name__)


class Jobs(AppService):
    """One-off commands of apps."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._jobs = JobRepository(uow.session, uow.cipher)

    async def start(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Job:
        """Have the one-off run that a request asks for (`command`, `ptype`, `timeout`, `expires`, `volumes`).

        It runs in the image of `ptype` with the environment and the limits of `run`, in the latest usable release.

        Raises:
            InvalidInputError: no command, no build, no such process type, a number that is none, or too many one-offs
                of the app have not ended.
            InvalidValueError: volumes are malformed; NotSupportedError: the engine cannot run it.
        """
        request = check_request(body)
        locked = await self._apps.lock(app)
        bundle = await self._usable(locked)
        if bundle.build is None:
            raise InvalidInputError(NO_BUILD)
        check_ptype(bundle.build, request.ptype)
        check_count(await self._jobs.count_unfinished(locked), most=self._uow.policy.max_jobs)
        mounts = await Volumes(self._uow).mounts_for_job(app, request.volumes)
        job = await self._add(locked, self._job(locked, bundle, request, mounts, actor), actor)
        await self._record(
            locked,
            "job.started",
            actor=actor,
            target=job.name,
            after={"command": request.command.shown, "ptype": job.ptype, "release": job.release},
        )
        await notify(self._uow.session, JOBS_CHANNEL)
        log.info("job_accepted", app=app, job=job.name, actor=actor.username)
        return job

    async def get(self, app: str, name: str) -> Job:
        """One of them.

        Raises:
            ObjectNotFoundError: there is none of that name, or its time was over.
        """
        return await self._get(await self._apps.get(app), name)

    async def find(self, app: str, name: str) -> Job | None:
        """One of them, if there is one of that name."""
        return await self._jobs.find(await self._apps.get(app), name)

    async def process(self, app: str, name: str) -> ProcessSpec | None:
        """What one of them runs or ran; None when there is none of that name."""
        found = await self._apps.get(app)
        job = await self._jobs.find(found, name)
        bundle = None if job is None else await self._releases.find(found, job.release)
        return None if job is None or bundle is None else self._process(job, bundle)

    async def list(self, app: str, *, limit: int = 100, offset: int = 0) -> Page[Job]:
        """All that are kept, the newest first."""
        return await self._jobs.list(await self._apps.get(app), limit=limit, offset=offset)

    async def stop(self, app: str, name: str, *, actor: Actor) -> None:
        """Have it ended, or not started; one that has ended stays as it is.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        locked = await self._apps.lock(app)
        job = await self._get(locked, name)
        if job.is_finished or job.stop_requested:
            return
        await self._jobs.request_stop(job, now=self._uow.now())
        await self._record(locked, "job.stopped", actor=actor, target=name)
        await notify(self._uow.session, JOBS_CHANNEL)
        log.info("job_stop_requested", app=app, job=name, actor=actor.username)

    # --- for the worker ---

    async def busy_apps(self) -> tuple[str, ...]:
        """The names of the apps that have jobs which have not ended."""
        return await self._jobs.busy_apps()

    async def unfinished(self, app: str) -> Sequence[tuple[Job, JobSpec]]:
        """The jobs of an app that have not ended, with what the engine is to be told of each. Those of a blocked app
        are to be stopped."""
        found = await self._apps.find(app)
        jobs = () if found is None else await self._jobs.unfinished(found)
        if found is None or not jobs:
            return ()
        bundles = await self._releases.bundles(found, {job.release for job in jobs})
        if found.blocked is not None:
            jobs = tuple(replace(job, stop_requested=True) for job in jobs)
        return [(job, job_spec(job, self._process(job, bundles[job.release]))) for job in jobs]

    async def save(self, job: Job) -> bool:
        """Write where it stands; whether its app is still there."""
        return await self._jobs.save(job, now=self._uow.now())

    async def prune(self) -> int:
        """Forget those whose time has come; how many they were."""
        return await self._jobs.prune(now=self._uow.now())

    async def _get(self, app: App, name: str) -> Job:
        job = await self._jobs.find(app, name)
        if job is None:
            raise ObjectNotFoundError("Job")
        return job

    async def _add(self, app: App, job: Job, actor: Actor) -> Job:
        for _ in range(_NAMES_TO_TRY):
            if await self._jobs.add(app, job, owner=actor):
                return job
            job = replace(job, name=job_name(app.name))
        raise UnavailableError("no free name for this command was found; try again")

    def _job(
        self, app: App, bundle: ReleaseBundle, request: JobRequest, mounts: tuple[Mount, ...], actor: Actor
    ) -> Job:
        now, most = self._uow.now(), self._uow.policy.max_job_ttl
        job = Job(
            uuid=uuid7(),
            app=app.name,
            owner=actor.username,
            name=job_name(app.name),
            ptype=request.ptype,
            release=bundle.release.version,
            command=request.command,
            is_shell=request.command.is_line and bundle.build is not None and has_shell(bundle.build),
            mounts=mounts,
            timeout=request.timeout,
            ttl=min(request.expires or most, most),
            state="starting",
            created=now,
            updated=now,
        )
        self._uow.engine.check(self._process(job, bundle))
        return job

    def _process(self, job: Job, bundle: ReleaseBundle) -> ProcessSpec:
        if bundle.build is None:
            raise InvalidInputError(NO_BUILD)
        process = render_process(job.app, bundle, bundle.build, RUN, self._uow.policy)
        return job_process(job, process, bundle.build)
