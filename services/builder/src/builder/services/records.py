"""Every change of a build's state: the row and its event, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, TypedDict
from uuid import UUID

from builder.domain.builds import Build, BuildState, Verdict
from builder.repositories.builds import BuildRepository
from builder.runner.port import AppConfig, BuildFailedError, BuildLimits, BuildResult, BuildSpec, Plan
from builder.services.verdicts import ReleaseNews
from shared.clock import Clock
from shared.db import Database
from shared.events import (
    BuildCancelled,
    BuildFailed,
    BuildRequested,
    BuildStarted,
    BuildSucceeded,
    ReleaseDeployed,
    ReleaseFailed,
    ReleaseProgress,
    ReleaseRejected,
)

LOG_LINES = 20


class _Identity(TypedDict):
    app: str
    build_id: UUID
    number: int
    actor: str
    sha: str
    branch: str


class BuildRecords:
    """The stored truth about builds."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def get(self, build_id: UUID) -> Build:
        """The build; BuildNotFoundError when there is none."""
        async with self._database.session() as session:
            return await BuildRepository(session).get(build_id)

    async def page(self, *, app: str | None, before: UUID | None, limit: int) -> list[Build]:
        """Builds, newest first."""
        async with self._database.session() as session:
            return await BuildRepository(session).page(app=app, before=before, limit=limit)

    async def unfinished(self) -> Sequence[Build]:
        async with self._database.session() as session:
            return await BuildRepository(session).unfinished()

    async def next_number(self, app: str) -> int:
        async with self._database.session() as session:
            return await BuildRepository(session).next_number(app)

    async def requested(self, spec: BuildSpec, plan: Plan) -> None:
        """Store a new build, with all that another process needs to go on with it but the app's config."""
        build = Build(
            id=spec.build_id,
            app=spec.app,
            number=spec.number,
            actor=spec.actor,
            sha=spec.sha,
            branch=spec.branch,
            state=BuildState.REQUESTED,
            requested_at=self._clock.now(),
        )
        async with self._database.transaction() as session:
            await BuildRepository(session).add(build, BuildRequested(**_identity(build)), request=_request(spec, plan))

    async def request(self, build: Build) -> tuple[BuildSpec, Plan] | None:
        """What an unfinished build was asked for, without the app's config; None when that was not kept."""
        async with self._database.session() as session:
            stored = await BuildRepository(session).request(build.id)
        return None if stored is None else (_spec(build, stored), Plan.restored(stored["plan"]))

    async def started(self, build_id: UUID) -> None:
        async with self._database.transaction() as session:
            builds = BuildRepository(session)
            event = BuildStarted(**_identity(await builds.get(build_id)))
            await builds.start(build_id, at=self._clock.now(), events=[event])

    async def succeeded(self, build_id: UUID, result: BuildResult, *, release: Mapping[str, Any] | None = None) -> None:
        """The build has a result; `release` is what a controller that hears no events is still to be asked for."""
        async with self._database.transaction() as session:
            builds = BuildRepository(session)
            event = BuildSucceeded.model_validate(
                {
                    **_identity(await builds.get(build_id)),
                    "image": result.image,
                    "stack": result.stack,
                    "procfile": result.procfile,
                    "dryccfile": result.dryccfile,
                    "dockerfile": result.dockerfile,
                }
            )
            now, images = self._clock.now(), result.references
            await builds.end(
                build_id, state=BuildState.SUCCEEDED, at=now, events=[event], release=release, images=images
            )

    async def failed(self, build_id: UUID, error: BuildFailedError) -> None:
        async with self._database.transaction() as session:
            builds = BuildRepository(session)
            event = BuildFailed(
                **_identity(await builds.get(build_id)),
                code=error.code,
                message=error.message,
                log=error.log[-LOG_LINES:],
                hint=error.hint,
            )
            now = self._clock.now()
            await builds.end(
                build_id, state=BuildState.FAILED, at=now, events=[event], code=error.code, message=error.message
            )

    async def cancelled(self, build_id: UUID, reason: str) -> None:
        async with self._database.transaction() as session:
            builds = BuildRepository(session)
            event = BuildCancelled(**_identity(await builds.get(build_id)), code="cancelled", message=reason)
            now = self._clock.now()
            await builds.end(
                build_id, state=BuildState.CANCELLED, at=now, events=[event], code="cancelled", message=reason
            )

    async def heard(self, consumer: str, event_id: str, news: ReleaseNews) -> bool:
        """Note what became of a build's release; False when this event was noted before."""
        if news.build_id is None or isinstance(news, ReleaseProgress):
            return True
        async with self._database.transaction() as session:
            builds = BuildRepository(session)
            if not await builds.first_time(consumer, event_id):
                return False
            if isinstance(news, ReleaseRejected):
                await builds.set_verdict(news.build_id, Verdict.REJECTED, code=news.code, message=news.message)
                return True
            await builds.set_release(news.build_id, news.version)
            if isinstance(news, ReleaseDeployed):
                await builds.set_verdict(news.build_id, Verdict.DEPLOYED)
                await builds.set_deployed(news.build_id, at=self._clock.now())
            elif isinstance(news, ReleaseFailed):
                await builds.set_verdict(news.build_id, Verdict.FAILED, code=news.code, message=news.message)
        return True

    async def forget(self, app: str) -> None:
        """Remove all records of a deleted app."""
        async with self._database.transaction() as session:
            await BuildRepository(session).delete_app(app)


def _identity(build: Build) -> _Identity:
    return _Identity(
        app=build.app, build_id=build.id, number=build.number, actor=build.actor, sha=build.sha, branch=build.branch
    )


def _request(spec: BuildSpec, plan: Plan) -> dict[str, Any]:
    limits = {"timeout_seconds": spec.limits.timeout.total_seconds(), "disk_bytes": spec.limits.disk_bytes}
    return {"options": dict(spec.options), "limits": limits, "plan": asdict(plan)}


def _spec(build: Build, stored: dict[str, Any]) -> BuildSpec:
    limits = stored["limits"]
    return BuildSpec(
        build_id=build.id,
        app=build.app,
        number=build.number,
        sha=build.sha,
        branch=build.branch,
        actor=build.actor,
        config=AppConfig(),
        options=stored["options"],
        limits=BuildLimits(timedelta(seconds=limits["timeout_seconds"]), limits["disk_bytes"]),
    )
