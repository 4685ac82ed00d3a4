"""Every change of a build's state: the row and its event, in one transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from builder.domain.builds import Build, BuildState, Verdict
from builder.domain.text import storable
from builder.repositories.builds import BuildRepository, MakeEvent
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
    ReleaseCreated,
    ReleaseDeployed,
    ReleaseFailed,
    ReleaseProgress,
    ReleaseRejected,
)

LOG_LINES = 20
NOT_DEPLOYED = "not-deployed"
"""The `verdict_code` of a build without a verdict: its release waits for somebody to deploy it."""


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

    async def to_clear(self) -> Sequence[Build]:
        """Builds that are over and of which the runner may still have something besides the result."""
        async with self._database.session() as session:
            return await BuildRepository(session).to_clear()

    async def cleared(self, build_id: UUID) -> None:
        """The runner has nothing of it any more."""
        async with self._database.transaction() as session:
            await BuildRepository(session).set_cleared(build_id)

    async def newest(self, app: str) -> Build | None:
        """The app's last build, if there was one."""
        async with self._database.session() as session:
            return await BuildRepository(session).newest(app)

    async def deployed_last(self, app: str) -> UUID | None:
        """The build that was deployed last, which a rollback does as well."""
        async with self._database.session() as session:
            return await BuildRepository(session).deployed_last(app)

    async def unjudged(self, within: timedelta) -> Sequence[Build]:
        """Builds that have succeeded in that time, and whose release may still be made."""
        async with self._database.session() as session:
            return await BuildRepository(session).unjudged(since=self._clock.now() - within)

    async def requested(self, spec: BuildSpec, plan: Plan, *, is_lasting: bool = False) -> None:
        """Store a new build, with all that another process needs to go on with it but the app's config.

        `is_lasting`: the runner has something of it until `cleared`.
        """
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
            event, request = BuildRequested(**_identity(build)), _request(spec, plan)
            await BuildRepository(session).add(build, event, request=request, is_lasting=is_lasting)

    async def request(self, build: Build) -> tuple[BuildSpec, Plan] | None:
        """What an unfinished build was asked for, without the app's config; None when that was not kept."""
        async with self._database.session() as session:
            stored = await BuildRepository(session).request(build.id)
        return None if stored is None else (_spec(build, stored), Plan.restored(stored["plan"]))

    async def started(self, build_id: UUID) -> None:
        async with self._database.transaction() as session:
            await BuildRepository(session).start(
                build_id, at=self._clock.now(), event=lambda build: BuildStarted(**_identity(build))
            )

    async def succeeded(self, build_id: UUID, result: BuildResult, *, release: Mapping[str, Any] | None = None) -> None:
        """The build has a result; `release` is what a controller that hears no events is still to be asked for."""

        def event(build: Build) -> BuildSucceeded:
            return BuildSucceeded.model_validate(
                {
                    **_identity(build),
                    "image": result.image,
                    "stack": result.stack,
                    "procfile": result.procfile,
                    "dryccfile": result.dryccfile,
                    "dockerfile": result.dockerfile,
                }
            )

        images = result.references
        await self._end(build_id, BuildState.SUCCEEDED, event, release=release, images=images)

    async def failed(self, build_id: UUID, error: BuildFailedError) -> None:
        message, hint = storable(error.message), storable(error.hint)
        log = tuple(storable(line) for line in error.log[-LOG_LINES:])

        def event(build: Build) -> BuildFailed:
            return BuildFailed(**_identity(build), code=error.code, message=message, log=log, hint=hint)

        await self._end(build_id, BuildState.FAILED, event, code=error.code, message=message)

    async def cancelled(self, build_id: UUID, reason: str) -> None:
        reason = storable(reason)

        def event(build: Build) -> BuildCancelled:
            return BuildCancelled(**_identity(build), code="cancelled", message=reason)

        await self._end(build_id, BuildState.CANCELLED, event, code="cancelled", message=reason)

    async def heard(self, consumer: str, event_id: str, news: ReleaseNews, *, at: datetime) -> bool:
        """Note what became of a build's release at that time; False when this event was noted before."""
        if news.build_id is None or isinstance(news, ReleaseProgress):
            return True
        async with self._database.transaction() as session:
            builds = BuildRepository(session)
            if not await builds.first_time(consumer, event_id):
                return False
            await builds.set_news(news.build_id, **_said_by(news, at))
        return True

    async def _end(self, build_id: UUID, state: BuildState, event: MakeEvent, **facts: Any) -> None:
        async with self._database.transaction() as session:
            await BuildRepository(session).end(build_id, state=state, at=self._clock.now(), event=event, **facts)

    async def forget(self, app: str) -> None:
        """Remove all records of a deleted app."""
        async with self._database.transaction() as session:
            await BuildRepository(session).delete_app(app)


def _said_by(news: ReleaseNews, at: datetime) -> dict[str, Any]:
    match news:
        case ReleaseRejected():
            return {"verdict": Verdict.REJECTED, "code": news.code, "message": news.message}
        case ReleaseFailed():
            facts = {"version": news.version, "code": news.code, "message": news.message}
            return {**facts, "verdict": Verdict.FAILED}
        case ReleaseDeployed():
            return {"version": news.version, "verdict": Verdict.DEPLOYED, "deployed_at": at}
        case ReleaseCreated(deploys=False):
            return {"version": news.version, "code": NOT_DEPLOYED, "message": "automatic deployment is off"}
    return {"version": news.version}


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
