"""What happens inside one push once git has received it: branch rule, early checks, build, verdict."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path

from builder.domain.errors import BuildEndedError
from builder.domain.refs import RefUpdate, decide
from builder.domain.text import failure, progress, refusal
from builder.git.environment import GitEnvironment
from builder.git.hooks import HookRequest, HookWriter
from builder.git.tree import CommitTree, open_commit, quarantine_of
from builder.runner.port import AppConfig, BuildFailedError, BuildLimits, BuildSpec, Runner
from builder.services.builds import Builds
from builder.services.records import BuildRecords
from builder.services.runs import BuildRun
from shared.db import uuid7
from shared.logging import bind_context, get_logger

log = get_logger(__name__)


@dataclass
class Push:
    """One git-receive-pack session. From `is_requested` on, the build goes its way without the client."""

    app: str
    username: str
    config: AppConfig
    repository: Path
    is_received: bool = False
    is_requested: bool = False
    run: BuildRun | None = None


class Pushes:
    """Answers the pre-receive hook."""

    def __init__(
        self,
        *,
        runner: Runner,
        builds: Builds,
        records: BuildRecords,
        environment: GitEnvironment,
        limits: BuildLimits,
    ) -> None:
        self._runner = runner
        self._builds = builds
        self._records = records
        self._environment = environment
        self._limits = limits

    async def answer_hook(self, push: Push, request: HookRequest, hook: HookWriter) -> int:
        """Deploy what was pushed and tell the pusher all about it; returns the hook's exit status.

        Cancelled when the hook has died: git then declines the push, so its build must not deploy either.
        """
        push.is_received = True
        bind_context(app=push.app, actor=push.username)
        try:
            return await self._receive(push, request, hook)
        except BuildFailedError as error:
            log.info("push_declined", code=error.code)
            text = failure("Not built", code=error.code, message=error.message, log=error.log, hint=error.hint)
            await hook.write(text.encode("utf-8", "replace"))
        except asyncio.CancelledError:
            self._give_up(push)
            raise
        except Exception:
            log.exception("push_broke")
            await hook.write(refusal("The builder failed unexpectedly; nothing was changed.").encode())
        return 1

    async def _receive(self, push: Push, request: HookRequest, hook: HookWriter) -> int:
        decision = decide(request.refs)
        if decision.refusal is not None:
            await hook.write(refusal(decision.refusal).encode())
            return 1
        for note in decision.notes:
            await hook.write(progress(note).encode())
        if decision.deploy is None:
            return 0
        quarantine = quarantine_of(push.repository, request.quarantine)
        environment = self._environment.quarantined(push.repository, quarantine)
        async with open_commit(decision.deploy.new, environment) as tree:
            run = await self._start(push, decision.deploy, request.options, tree)
            return await self._relay(run, hook)

    async def _start(self, push: Push, ref: RefUpdate, options: dict[str, str], tree: CommitTree) -> BuildRun:
        spec = BuildSpec(
            build_id=uuid7(),
            app=push.app,
            number=await self._records.next_number(push.app),
            sha=ref.new,
            branch=ref.branch or ref.ref,
            actor=push.username,
            config=push.config,
            options=options,
            limits=self._limits,
        )
        plan = await self._runner.check(tree, spec)
        push.is_requested = True
        push.run = await self._builds.start(spec, plan, tree)
        push.run.log.conclude(progress(f"Build {spec.number} of {spec.app}: {spec.branch} at {spec.sha[:12]}"))
        log.info("build_requested", build_id=str(spec.build_id), number=spec.number, sha=spec.sha)
        return push.run

    async def _relay(self, run: BuildRun, hook: HookWriter) -> int:
        async for data in run.log.follow():
            await hook.write(data)
        await run.done.wait()
        return run.status

    def _give_up(self, push: Push) -> None:
        if push.run is not None:
            with contextlib.suppress(BuildEndedError):
                push.run.cancel("git ended before the build did")
