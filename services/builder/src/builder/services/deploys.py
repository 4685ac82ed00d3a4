"""The deploy of one push: its turn, the state of its branch, early checks, build, verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from builder.domain.builds import Build, Verdict, number_after
from builder.domain.errors import BranchBlockedError, BranchMovedError, BranchNotSetError, PushCancelledError
from builder.domain.refs import HEADS, RefUpdate
from builder.domain.text import progress
from builder.git.branch import PushedBranch, Standing
from builder.git.hooks import HookWriter
from builder.git.tree import CommitTree, open_commit
from builder.runner.port import AppConfig, BuildLimits, BuildSpec, Runner
from builder.services import waiting
from builder.services.builds import Builds, ConfigOf
from builder.services.records import NOT_DEPLOYED, BuildRecords
from builder.services.runs import BuildRun
from builder.services.turns import Turn, Turns
from shared.db import uuid7
from shared.logging import get_logger

log = get_logger(__name__)

GIT_ENDED = "git ended before the build began"


@dataclass
class Push:
    """One git-receive-pack session. From `is_requested` on, git and the build go their way without the client.

    `asked_at` is when the controller was asked for the right and the config, in monotonic seconds.
    """

    app: str
    username: str
    config: AppConfig
    repository: Path
    asked_at: float = field(default_factory=time.monotonic)
    is_received: bool = False
    is_requested: bool = False
    is_over: bool = False
    turn: Turn | None = None
    run: BuildRun | None = None

    def end(self) -> None:
        """git ends: what has not begun by now never does, whatever its hook, which may end later, is still told."""
        self.is_over = True
        if self.turn is not None and self.run is None:
            self.turn.cancel(GIT_ENDED)


@dataclass(frozen=True)
class Deploy:
    """What is to be deployed, and whom to tell. git sees what was sent in `environment`."""

    push: Push
    turn: Turn
    update: RefUpdate
    options: Mapping[str, str]
    environment: Mapping[str, str]
    hook: HookWriter

    @property
    def branch(self) -> PushedBranch:
        return PushedBranch(self.push.repository, self.update, self.environment)

    async def tell(self, text: str) -> None:
        await self.hook.write(text.encode("utf-8", "replace"))


class Deploys:
    """Brings deploys about, one after another for each app."""

    def __init__(
        self,
        *,
        runner: Runner,
        builds: Builds,
        records: BuildRecords,
        turns: Turns,
        config_of: ConfigOf,
        limits: BuildLimits,
    ) -> None:
        self._runner = runner
        self._builds = builds
        self._records = records
        self._turns = turns
        self._config_of = config_of
        self._limits = limits

    async def carry_out(self, deploy: Deploy) -> int:
        """The exit status of the push: 0 when git may move the branch, since its new commit is deployed.

        Raises:
            BuildFailedError: the early checks, with everything that the pusher needs to put it right.
            PushCancelledError: somebody ended it before it was built.
            BranchMovedError: another push was first, which this one does not contain.
            BranchBlockedError: git cannot make the branch.
            PushNotAllowedError, ControllerUnavailableError: the pusher's right was looked at again after the wait.
            BranchNotSetError: it is deployed, but git cannot move the branch.
            DatabaseAwayError: nothing was begun.
            OSError, TimeoutError: git cannot be asked.
        """
        running = waiting.same_build(self._turns.ahead(deploy.turn), deploy.update, deploy.options)
        status = await (self._follow(deploy, running) if running else self._build(deploy))
        if status == 0:
            await self._make_way(deploy)
        return status

    async def _make_way(self, deploy: Deploy) -> None:
        deploy.push.is_requested = True  # a git that ended with its client would leave the branch where this puts it
        try:
            await deploy.branch.make_way()
        except (OSError, TimeoutError) as exc:
            update, words = deploy.update, str(exc) or type(exc).__name__
            raise BranchNotSetError(deploy.push.app, update.branch or update.ref, words) from exc

    def present(self, app: str) -> Turn | None:
        """Whose turn it is."""
        return self._turns.present(app)

    def enter(self, push: Push) -> Turn:
        """Line up; who ends the push leaves the row, too.

        Raises:
            PushCancelledError: it has been ended already.
        """
        if push.is_over:
            raise PushCancelledError(GIT_ENDED)
        push.turn = self._turns.enter(push.app, push.username)
        return push.turn

    async def _follow(self, deploy: Deploy, run: BuildRun) -> int:
        """Show the build that is under way of this very commit: the client that asked for it may have been cut off."""
        await deploy.tell(progress(f"Build {run.spec.number} is of this commit and under way; this is its log:"))
        status = await _relay(run, deploy.hook)
        await self._turns.reach(deploy.turn)
        return status

    async def _build(self, deploy: Deploy) -> int:
        await self._line_up(deploy)
        update = deploy.update
        standing = await deploy.branch.standing()
        if standing is Standing.THERE:
            await deploy.tell(progress(f"{update.branch} was deployed at {update.new[:12]} meanwhile: nothing to do."))
            return 0
        if standing is Standing.DIVERGED:
            raise BranchMovedError(update.branch or update.ref, await deploy.branch.tip())
        if (other := await deploy.branch.obstacle()) is not None:
            raise BranchBlockedError(update.branch or update.ref, other.removeprefix(HEADS))
        newest = await self._records.newest(deploy.push.app)
        if newest is not None and (done := await self._done_with(newest, deploy)):
            await deploy.tell(progress(f"Build {newest.number} of this commit {done}; only its branch was not moved."))
            return 0
        async with open_commit(update.new, deploy.environment) as tree:
            return await _relay(await self._start(deploy, tree, number_after(newest)), deploy.hook)

    async def _done_with(self, newest: Build, deploy: Deploy) -> str | None:
        """What became of the push before, under a builder that was killed before git could move the branch; None where
        it has still to be built. What was deployed since, as by a rollback, makes it worth a build."""
        update = deploy.update
        if (newest.sha, newest.branch) != (update.new, update.branch) or waiting.STACK in deploy.options:
            return None
        last = await self._records.deployed_last(newest.app)
        if newest.verdict is Verdict.DEPLOYED:
            return "is deployed" if last == newest.id else None
        if newest.verdict is not None or newest.verdict_code != NOT_DEPLOYED or newest.ended_at is None:
            return None
        at = (await self._records.get(last)).deployed_at if last is not None else None
        return "waits to be deployed" if at is None or at < newest.ended_at else None

    async def _line_up(self, deploy: Deploy) -> None:
        """Come to the front of the row; what may have changed while it waited is asked anew."""
        push, ahead = deploy.push, self._turns.ahead(deploy.turn)
        if not ahead:
            return
        if waiting.SUPERSEDE in deploy.options:
            await deploy.tell(waiting.supersede(ahead, push.username))

        async def tell(ahead: Sequence[Turn]) -> None:
            await deploy.tell(waiting.row_text(ahead))

        await self._turns.reach(deploy.turn, tell=tell)
        await self.ask_right(push)

    async def ask_right(self, push: Push, *, unless_within: float = 0.0) -> None:
        """Ask the controller anew whether the user may push, and for the app's config, if it is so many seconds ago.

        Raises:
            PushNotAllowedError, ControllerUnavailableError: who pushes may not, or nobody can tell.
        """
        if time.monotonic() - push.asked_at >= unless_within:
            push.config = await self._config_of(push.app, push.username)
            push.asked_at = time.monotonic()

    async def _start(self, deploy: Deploy, tree: CommitTree, number: int) -> BuildRun:
        push, update = deploy.push, deploy.update
        spec = BuildSpec(
            build_id=uuid7(),
            app=push.app,
            number=number,
            sha=update.new,
            branch=update.branch or update.ref,
            actor=push.username,
            config=push.config,
            options=deploy.options,
            limits=self._limits,
        )
        plan = await self._runner.check(tree, spec)
        deploy.turn.expect_wanted()
        push.is_requested = True
        push.run = run = await self._builds.start(spec, plan, tree)
        deploy.turn.begin(run)
        run.log.conclude(progress(f"Build {spec.number} of {spec.app}: {spec.branch} at {spec.sha[:12]}"))
        log.info("build_requested", build_id=str(spec.build_id), number=spec.number, sha=spec.sha)
        return run


async def _relay(run: BuildRun, hook: HookWriter) -> int:
    async for data in run.log.follow():
        await hook.write(data)
    await run.done.wait()
    return run.status
