"""What the reconciler does next about a rollout: looks at the engine and names one step, without writing anything."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from controller.domain.builds import ReleaseJob
from controller.domain.policy import Policy
from controller.domain.releases import ReleaseBundle, Rollout, RolloutState
from controller.domain.render import AppState, render_job
from controller.domain.rollouts import Broken, Settled, job_failure, job_name, judge
from controller.domain.spec import LAST_LINES, AppObservation, AppSpec, Failure, JobSpec, JobState
from controller.domain.volumes import Volume
from controller.engine.port import Engine
from controller.services.desired import Snapshot
from controller.services.rollouts import Rollouts, jobs_of
from shared.errors import SuiteError
from shared.logging import get_logger

REFUSED_HINT: Final = "this platform cannot run that: change what the message names, then push or deploy again"
AWAY_HINT: Final = "the platform itself is at fault: try `drycc releases deploy --force` when it works again"

log = get_logger(__name__)

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
        return await self._release_phase(rollout, bundle, job, now, volumes=snapshot.state.volumes)

    async def _rolling(self, rollout: Rollout, bundle: ReleaseBundle, spec: AppSpec, now: datetime) -> Step | None:
        observed = await self._engine.observe(spec.app)
        verdict = judge(rollout, spec, observed, now=now)
        if isinstance(verdict, Settled):
            return lambda rollouts, state: rollouts.succeed(state, rollout, bundle)
        if isinstance(verdict, Broken):
            return failing(rollout, bundle, await self._reason(spec.app, verdict, observed))
        progress = verdict.progress
        if progress > rollout.progress:
            return lambda rollouts, _: rollouts.advance(rollout, bundle, progress=progress)
        return None

    def refused_ptype(self, rollout: Rollout, spec: AppSpec, error: SuiteError) -> str:
        """The process type for which the engine refuses the whole; empty when it is not about one."""
        told = error.facts.get("ptype")
        if isinstance(told, str) and told:
            return told
        for process in spec.processes:
            try:
                self._engine.check(process)
            except SuiteError:
                return process.ptype
        return rollout.ptypes[0] if len(rollout.ptypes) == 1 else ""

    async def _reason(self, app: str, verdict: Broken, observed: AppObservation) -> Failure:
        """Why it failed. "Not in time" is the last thing to say: the engine may see why, or else its output may."""
        for ptype in verdict.late:
            try:
                found = await self._engine.explain(app, ptype)
            except SuiteError as error:
                log.info("no_explanation", app=app, ptype=ptype, code=error.code)
                continue
            if found is not None:
                return found
        if not verdict.late:
            return verdict.failure
        return replace(verdict.failure, log=await self._last_lines(observed, verdict.failure.ptype))

    async def _last_lines(self, observed: AppObservation, ptype: str) -> tuple[str, ...]:
        """What an instance that is not ready said last; nothing when there is none or nothing is kept."""
        state = observed.ptype(ptype)
        late = [
            instance.name
            for instance in observed.instances
            if state is not None and instance.fingerprint == state.fingerprint and not instance.ready
        ]
        pieces = []
        try:
            if late:
                logs = self._engine.logs(observed.app, instance=late[-1], lines=LAST_LINES, follow=False)
                pieces = [piece async for piece in logs]
        except SuiteError as error:
            log.info("no_last_lines", app=observed.app, instance=late[-1], code=error.code)
        return tuple(b"".join(pieces).decode(errors="replace").splitlines()[-LAST_LINES:])

    async def _release_phase(
        self, rollout: Rollout, bundle: ReleaseBundle, job: ReleaseJob, now: datetime, *, volumes: Sequence[Volume]
    ) -> Step | None:
        spec = self._job_spec(rollout, bundle, job, volumes)
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
            log_so_far = () if state is None else state.log
            late = JobState(spec.name, "crashed", reason="deadline-exceeded", log=log_so_far)
            return failing(rollout, bundle, job_failure(job.ptype, command, late))
        return None

    def _job_spec(
        self, rollout: Rollout, bundle: ReleaseBundle, job: ReleaseJob, volumes: Sequence[Volume]
    ) -> JobSpec | None:
        if bundle.build is None:
            return None
        process = render_job(rollout.app, bundle, bundle.build, job, self._policy, volumes=volumes)
        name = job_name(rollout.app, rollout.uuid, rollout.step)
        return JobSpec(rollout.app, name, process, timeout=self._policy.job_timeout(job.timeout_seconds))


def failing(rollout: Rollout, bundle: ReleaseBundle, failure: Failure) -> Step:
    """The step that ends a rollout badly."""
    return lambda rollouts, state: rollouts.fail(state, rollout, bundle, failure)


def refusal(error: SuiteError, ptype: str = "") -> Failure:
    """Why the engine will not run it, or could not be asked until the deadline."""
    return Failure(error.code, ptype, error.detail, hint=REFUSED_HINT if error.status < 500 else AWAY_HINT)
