"""What the reconciler does next about a rollout: looks at the engine and names one step, without writing anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime

from controller.domain.builds import ReleaseJob
from controller.domain.policy import Policy
from controller.domain.releases import ReleaseBundle, Rollout, RolloutState
from controller.domain.render import AppState, render_job
from controller.domain.rollouts import Broken, Settled, job_failure, job_name, judge
from controller.domain.spec import AppSpec, Failure, JobSpec, JobState
from controller.engine.port import Engine
from controller.services.desired import Snapshot
from controller.services.rollouts import Rollouts, jobs_of
from shared.errors import SuiteError

Step = Callable[[Rollouts, AppState], Awaitable[None]]
"""One move of the state machine, to be made in a transaction that holds the app's lock."""


class Steps:
    """Finds the next step of a rollout."""

    def __init__(self, engine: Engine, policy: Policy) -> None:
        self._engine = engine
        self._policy = policy

    async def next(self, snapshot: Snapshot, spec: AppSpec, *, now: datetime) -> Step | None:
        """The step that is due; None when there is nothing to do but wait."""
        rollout, bundle = snapshot.rollout, snapshot.bundle
        if rollout is None or bundle is None:
            return None
        if rollout.state is RolloutState.ROLLING:
            return await self._rolling(rollout, bundle, spec, now)
        job = jobs_of(bundle, rollout)[rollout.step]
        if rollout.state is RolloutState.PENDING:
            return lambda rollouts, _: rollouts.start_job(rollout, bundle, job)
        return await self._release_phase(rollout, bundle, job, now)

    async def _rolling(self, rollout: Rollout, bundle: ReleaseBundle, spec: AppSpec, now: datetime) -> Step | None:
        verdict = judge(rollout, spec, await self._engine.observe(spec.app), now=now)
        if isinstance(verdict, Settled):
            return lambda rollouts, state: rollouts.succeed(state, rollout, bundle)
        if isinstance(verdict, Broken):
            return failing(rollout, bundle, verdict.failure)
        progress = verdict.progress
        if progress > rollout.progress:
            return lambda rollouts, _: rollouts.advance(rollout, bundle, progress=progress)
        return None

    async def _release_phase(
        self, rollout: Rollout, bundle: ReleaseBundle, job: ReleaseJob, now: datetime
    ) -> Step | None:
        spec = self._job_spec(rollout, bundle, job)
        if spec is None:
            return None
        state = await self._engine.job(rollout.app, spec.name)
        expired = rollout.deadline_at is not None and now >= rollout.deadline_at
        if state is None and not expired:
            try:
                await self._engine.run(spec)
            except SuiteError as error:
                if error.status >= 500:
                    raise
                return failing(rollout, bundle, refusal(error, job.ptype))
            state = await self._engine.job(rollout.app, spec.name)
        command = (*job.start.command, *job.start.args)
        if state is not None and state.state == "down":
            return lambda rollouts, state: rollouts.finish_job(state, rollout, bundle)
        if state is not None and state.finished:
            return failing(rollout, bundle, job_failure(job.ptype, command, state))
        if expired:
            late = JobState(spec.name, "crashed", reason="deadline-exceeded")
            return failing(rollout, bundle, job_failure(job.ptype, command, late))
        return None

    def _job_spec(self, rollout: Rollout, bundle: ReleaseBundle, job: ReleaseJob) -> JobSpec | None:
        if bundle.build is None:
            return None
        process = render_job(rollout.app, bundle, bundle.build, job, self._policy)
        name = job_name(rollout.app, rollout.uuid, rollout.step)
        return JobSpec(rollout.app, name, process, timeout=self._policy.job_timeout(job.timeout_seconds))


def failing(rollout: Rollout, bundle: ReleaseBundle, failure: Failure) -> Step:
    """The step that ends a rollout badly."""
    return lambda rollouts, state: rollouts.fail(state, rollout, bundle, failure)


def refusal(error: SuiteError, ptype: str = "") -> Failure:
    """Why the engine will not run it."""
    return Failure(error.code, ptype, error.detail)
