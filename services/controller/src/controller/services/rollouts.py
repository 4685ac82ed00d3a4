"""The steps of a rollout, each for one transaction that holds the app's row lock.

`begin` is called by whoever makes or deploys a release, all others by the reconciler: with the app as it read it,
once it has made sure under the lock that nothing has changed since.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from controller.domain.apps import App
from controller.domain.builds import ReleaseJob, ptypes_of, release_jobs
from controller.domain.config_values import DEFAULT_PORT
from controller.domain.names import WEB
from controller.domain.releases import Landing, ProcessTarget, ReleaseBundle, Rollout, RolloutState
from controller.domain.render import AppState, deploy_budget, render_process
from controller.domain.rollouts import (
    condition,
    failure_line,
    merge_targets,
    moving_ptypes,
    rollback_targets,
    superseded_condition,
)
from controller.domain.spec import Failure
from controller.services.base import AppService
from controller.services.ingress import Ingress
from shared.db import uuid7
from shared.events import ReleaseDeployed, ReleaseFailed, ReleaseProgress

JOB_MARGIN = timedelta(seconds=60)
"""How much longer than its own timeout the platform waits for a release-phase job before it gives up."""


class Rollouts(AppService):
    """Moves rollouts from one state to the next; the states are told in `domain.releases.RolloutState`."""

    async def begin(
        self,
        app: App,
        bundle: ReleaseBundle,
        *,
        ptypes: Sequence[str],
        everything: bool,
        replace: bool = False,
        base: ReleaseBundle | None = None,
    ) -> None:
        """Start to bring `ptypes` to a release that has a build; a rollout under way is superseded.

        `everything` moves them all, otherwise those that changed; `replace` gives even unchanged ones new instances.
        `base` is the release that this one was made from, which is often what runs and so need not be read again.
        """
        now = self._uow.now()
        active = await self._rollouts.active(app)
        targets = {target.ptype: target for target in await self._processes.list(app)}
        running = await self._running(app, targets, known=base)
        moving = moving_ptypes(
            bundle,
            ptypes,
            running=running,
            carried=active.ptypes if active else (),
            everything=everything,
            catalog=self._uow.policy.catalog,
        )
        rollout = Rollout(
            uuid=uuid7(),
            app=app.name,
            version=bundle.release.version,
            state=RolloutState.PENDING,
            ptypes=moving,
            restart_token=uuid4().hex[:12] if replace else "",
            previous=_landings(moving, targets, active),
            step=0,
            progress=0,
            deadline_at=None,
            failure=None,
            created=now,
        )
        if active is not None:
            await self._supersede(app, active, by=bundle, known=base)
        await self._releases.mark_deployed(bundle.release, ptypes)
        if jobs_of(bundle, rollout):
            await self._rollouts.add(app, rollout)
            return
        deadline = now + self._budget(rollout, bundle)
        await self._rollouts.add(app, dataclasses.replace(rollout, state=RolloutState.ROLLING, deadline_at=deadline))
        await self._roll(app, targets.values(), rollout, bundle)

    async def start_job(self, rollout: Rollout, bundle: ReleaseBundle, job: ReleaseJob) -> None:
        """The job of this step is about to run: give it its deadline and say so."""
        now = self._uow.now()
        deadline = now + self._job_budget(job)
        await self._rollouts.change(rollout, now=now, state=RolloutState.RELEASE_PHASE.value, deadline_at=deadline)
        await self._say(bundle, f"running the release phase of {job.ptype}")

    async def finish_job(self, state: AppState, rollout: Rollout, bundle: ReleaseBundle) -> None:
        """The job of this step ended well: on to the next one, or to rolling."""
        step = rollout.step + 1
        last = step >= len(jobs_of(bundle, rollout))
        now = self._uow.now()
        phase = RolloutState.ROLLING if last else RolloutState.PENDING
        deadline = now + self._budget(rollout, bundle) if last else None
        await self._rollouts.change(rollout, now=now, step=step, state=phase.value, deadline_at=deadline)
        if last:
            await self._roll(state.app, state.targets, rollout, bundle)

    async def advance(self, rollout: Rollout, bundle: ReleaseBundle, *, progress: int) -> None:
        """More new instances are ready than before: the deadline starts anew."""
        now = self._uow.now()
        deadline = now + self._budget(rollout, bundle)
        await self._rollouts.change(rollout, now=now, progress=progress, deadline_at=deadline)
        await self._say(bundle, f"{progress} new process{'es' if progress != 1 else ''} ready")

    async def postpone(self, rollout: Rollout, bundle: ReleaseBundle, *, until: datetime) -> None:
        """Nobody can see how it fares, so that it is not late yet."""
        await self._rollouts.change(rollout, now=self._uow.now(), deadline_at=until)
        await self._say(bundle, "what runs the apps cannot be reached; waiting for it")

    async def resume(self, rollout: Rollout, bundle: ReleaseBundle) -> None:
        """It can be seen again how it fares: its deadline starts anew."""
        if rollout.state is RolloutState.ROLLING:
            budget = self._budget(rollout, bundle)
        else:
            budget = self._job_budget(jobs_of(bundle, rollout)[rollout.step])
        now = self._uow.now()
        await self._rollouts.change(rollout, now=now, deadline_at=now + budget)

    async def succeed(self, state: AppState, rollout: Rollout, bundle: ReleaseBundle) -> None:
        """Everything runs: the release is good; with autodeploy the types that it does not have go away."""
        now = self._uow.now()
        if state.settings.autodeploy:
            known = ptypes_of(bundle.build)
            kept = {target.ptype: target for target in state.targets if target.ptype in known}
            if len(kept) < len(state.targets):
                await self._processes.replace(state.app, kept, now=now)
                await self._changed(state.app)
        await self._rollouts.finish(rollout, RolloutState.SUCCEEDED, now=now)
        await self._releases.record(bundle.release, condition("succeed", rollout, now), now=now, failed=False)
        release = bundle.release
        is_reached = state.settings.routable and WEB in ptypes_of(bundle.build)
        await self._uow.outbox.add(
            ReleaseDeployed(
                **_about(bundle),
                sha=bundle.build.sha if bundle.build else "",
                actor=release.owner,
                summary=release.summary or "",
                ptypes=rollout.ptypes,
                url=self._uow.policy.app_url(release.app) if is_reached else None,
            )
        )

    async def fail(self, state: AppState, rollout: Rollout, bundle: ReleaseBundle, failure: Failure) -> None:
        """The release is bad; with autorollback what it moved goes back to what it was. No release is made of that."""
        now = self._uow.now()
        back = await self._roll_back(state, rollout, now) if state.settings.autorollback else None
        await self._rollouts.finish(rollout, RolloutState.FAILED, now=now, failure=failure)
        record = condition("crashed", rollout, now, failure=failure, rolled_back_to=back)
        await self._releases.record(bundle.release, record, now=now, failed=True, exception=failure_line(failure))
        event = ReleaseFailed(**_about(bundle), **_reason(failure), rolled_back_to=back)
        await self._uow.outbox.add(event)

    async def abandon(self, app: App) -> None:
        """The app goes away: tell whoever waits for the rollout under way that nothing will come of it."""
        active = await self._rollouts.active(app)
        if active is None:
            return
        bundle = await self._releases.get(app, active.version)
        await self._rollouts.finish(active, RolloutState.SUPERSEDED, now=self._uow.now())
        failure = Failure("app-deleted", "", f"{app.name} was destroyed before the release was rolled out")
        await self._uow.outbox.add(ReleaseFailed(**_about(bundle), **_reason(failure)))

    async def _roll(
        self, app: App, targets: Collection[ProcessTarget], rollout: Rollout, bundle: ReleaseBundle
    ) -> None:
        """Write the release into the process rows: from here on the engine converges to it."""
        now = self._uow.now()
        merged = merge_targets(targets, rollout, ptypes_of(bundle.build), now)
        if {target.ptype for target in targets} <= set(merged):
            await self._processes.put(app, *merged.values(), now=now)
        else:
            await self._processes.replace(app, merged, now=now)
        if WEB in rollout.ptypes:
            await self._lead_to_web(app, bundle)
        started = [ptype for ptype in rollout.ptypes if merged[ptype].replicas]
        if started:
            await self._say(bundle, f"rolling out {', '.join(started)}")
        for ptype in sorted(set(rollout.ptypes) - set(started)):
            await self._say(bundle, f"{ptype} is at 0 processes; to start it: drycc pts scale {ptype}=1 -a {app.name}")

    def _budget(self, rollout: Rollout, bundle: ReleaseBundle) -> timedelta:
        policy = self._uow.policy
        if bundle.build is None:
            return policy.deploy_timeout
        processes = [render_process(rollout.app, bundle, bundle.build, ptype, policy) for ptype in rollout.ptypes]
        return max((deploy_budget(process, policy) for process in processes), default=policy.deploy_timeout)

    def _job_budget(self, job: ReleaseJob) -> timedelta:
        return self._uow.policy.job_timeout(job.timeout_seconds) + JOB_MARGIN

    async def _running(
        self, app: App, targets: Mapping[str, ProcessTarget], *, known: ReleaseBundle | None
    ) -> dict[str, ReleaseBundle | None]:
        versions = {target.release for target in targets.values() if target.release is not None}
        at_hand = {} if known is None else {known.release.version: known}
        bundles = at_hand | await self._releases.bundles(app, versions - set(at_hand))
        return {
            ptype: None if target.release is None else bundles.get(target.release) for ptype, target in targets.items()
        }

    async def _supersede(self, app: App, old: Rollout, *, by: ReleaseBundle, known: ReleaseBundle | None) -> None:
        now = self._uow.now()
        await self._rollouts.finish(old, RolloutState.SUPERSEDED, now=now)
        if old.version == by.release.version:
            return
        is_known = known is not None and known.release.version == old.version
        bundle = known if known is not None and is_known else await self._releases.get(app, old.version)
        record = superseded_condition(old, by.release.version, now)
        await self._releases.record(bundle.release, record, now=now)
        if bundle.release.build == by.release.build:
            await self._say(bundle, str(record["exception"]))
            return
        # Whoever waits for this build hears no more of it: the newer release has another one.
        failure = Failure("superseded", "", str(record["exception"]))
        await self._uow.outbox.add(ReleaseFailed(**_about(bundle), **_reason(failure)))

    async def _roll_back(self, state: AppState, rollout: Rollout, now: datetime) -> int | None:
        """Write the process rows back; the version that they are at then, or None when there is none."""
        if rollout.state is not RolloutState.ROLLING:
            return None
        kept = self._uow.policy.releases_kept
        newest = await self._releases.succeeded(state.app, up_to=rollout.version, kept=kept)
        fallback: dict[str, int] = {}
        for bundle in reversed(newest):
            fallback.update(dict.fromkeys(ptypes_of(bundle.build), bundle.release.version))
        good = {bundle.release.version: bundle for bundle in newest}
        # What a type ran may be older than these.
        before = await self._releases.bundles(
            state.app, {each.release for each in rollout.previous.values()} - set(good)
        )
        good |= {version: old for version, old in before.items() if old.release.state == "succeed"}
        targets = {target.ptype: target for target in state.targets}
        goals = rollback_targets(targets.values(), rollout, good=good, fallback=fallback)
        if goals is None:
            return None
        for ptype, landing in goals.items():
            old = targets.pop(ptype)
            if landing is not None:
                targets[ptype] = ProcessTarget(ptype, old.replicas, landing.release, landing.restart_token, old.created)
        await self._processes.replace(state.app, targets, now=now)
        web = goals.get(WEB)
        if web is not None:
            await self._lead_to_web(state.app, good[web.release])
        await self._changed(state.app)
        return max(landing.release for landing in goals.values() if landing is not None)

    async def _lead_to_web(self, app: App, bundle: ReleaseBundle) -> None:
        """Have the app's service of `web` lead to the port that this release listens on."""
        if bundle.build is not None:
            web = render_process(app.name, bundle, bundle.build, WEB, self._uow.policy)
            await Ingress(self._uow).follow_web(app, web.port or DEFAULT_PORT)

    async def _say(self, bundle: ReleaseBundle, message: str) -> None:
        await self._uow.outbox.add(ReleaseProgress(**_about(bundle), message=message))


def jobs_of(bundle: ReleaseBundle, rollout: Rollout) -> tuple[ReleaseJob, ...]:
    """The commands of the rollout's release phase, in order."""
    return () if bundle.build is None else release_jobs(bundle.build, rollout.ptypes)


def _landings(
    moving: Sequence[str], targets: Mapping[str, ProcessTarget], active: Rollout | None
) -> dict[str, Landing]:
    """Where each type comes from; what a superseded rollout moved comes from where that one found it."""
    landings = {}
    for ptype in moving:
        target = targets.get(ptype)
        carried = active is not None and ptype in active.ptypes
        if active is not None and carried and ptype in active.previous:
            landings[ptype] = active.previous[ptype]
        elif not carried and target is not None and target.release is not None:
            landings[ptype] = Landing(target.release, target.restart_token)
    return landings


def _about(bundle: ReleaseBundle) -> dict[str, Any]:
    release = bundle.release
    return {"app": release.app, "version": release.version, "build_id": release.build}


def _reason(failure: Failure) -> dict[str, Any]:
    return {
        "code": failure.code,
        "ptype": failure.ptype,
        "message": failure.message,
        "log": failure.log,
        "hint": failure.hint,
    }
