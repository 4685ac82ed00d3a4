"""Runs builds to their end, whoever listens: state, log, result, and the wait for what the controller makes of it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

from builder.domain.builds import Build, BuildState
from builder.domain.errors import (
    BuildEndedError,
    BuildNotFoundError,
    BuildStoppingError,
    ControllerUnavailableError,
    PushNotAllowedError,
)
from builder.domain.text import failure, progress, refusal
from builder.metrics import BUILD_SECONDS, BUILDS
from builder.runner.port import (
    AppConfig,
    BuildFailedError,
    BuildResult,
    BuildSpec,
    LastingRunner,
    Plan,
    Runner,
    Tree,
)
from builder.services.clearing import Clearing
from builder.services.logs import BuildLogs
from builder.services.records import BuildRecords
from builder.services.releases import Releases
from builder.services.runs import BuildRun
from builder.services.storing import insist
from builder.tasks import OneShots
from shared.logging import bind_context, get_logger

log = get_logger(__name__)

STOP_SECONDS = 10.0
INTERRUPTED = "the builder was stopped while it built"
INTERRUPTED_HINT = "Nothing was deployed; push again."
NOT_BEGUN = "the database broke off before the build could begin"
CLOSING = "the builder is being restarted"
CONFIG_PAUSE_SECONDS = 5.0

ConfigOf = Callable[[str, str], Awaitable[AppConfig]]
"""The config of an app, by its name and that of the user who builds it."""


class Builds:
    """Owns the tasks of all running builds. A build that was started ends in a final state: with this process at the
    latest, or where the runner's builds outlive it, in the hands of the next one."""

    def __init__(
        self,
        *,
        runner: Runner,
        records: BuildRecords,
        logs: BuildLogs,
        releases: Releases,
        config_of: ConfigOf,
        clearing: Clearing,
        at_once: int,
        tidy: Callable[[str, int], Awaitable[None]],
    ) -> None:
        self._runner = runner
        self._lasting = runner if isinstance(runner, LastingRunner) else None
        self._config_of = config_of
        self._records = records
        self._logs = logs
        self._releases = releases
        self._slots = asyncio.Semaphore(at_once)
        self._tidy = tidy
        self._runs: dict[UUID, BuildRun] = {}
        self._tasks = OneShots()
        self._clearing = clearing
        self._is_closing = False

    async def start(self, spec: BuildSpec, plan: Plan, tree: Tree) -> BuildRun:
        """Store the request and begin; `tree` must stay readable until the run is done.

        Raises:
            DatabaseAwayError: nothing has begun.
            BuildFailedError: the same, because we are closing.
        """
        self._expect_open()
        try:
            await self._records.requested(spec, plan, is_lasting=self._lasting is not None)
        except BaseException:
            with contextlib.suppress(RuntimeError):  # closing: the next process gives it up
                self._tasks.spawn(self._withdraw(spec), name=f"withdraw-{spec.build_id}")
            raise
        try:
            self._expect_open()
        except BuildFailedError as error:
            await self._records.failed(spec.build_id, error)
            raise
        return self._begin(spec, plan, tree)

    async def cancel(self, build_id: UUID, reason: str) -> None:
        """Stop a running build and wait until it has stopped.

        Raises:
            BuildNotFoundError: there is no such build.
            BuildEndedError: it is over.
            BuildStoppingError: it will be, but not yet.
        """
        run = self._runs.get(build_id)
        if run is None:
            raise BuildEndedError(build_id, (await self._records.get(build_id)).state)
        run.cancel(reason)
        try:
            async with asyncio.timeout(STOP_SECONDS * 2):
                await run.done.wait()
        except TimeoutError:
            raise BuildStoppingError(build_id) from None

    async def stop_app(self, app: str, reason: str) -> None:
        """Stop what the app builds now, if anything."""
        for run in [run for run in self._runs.values() if run.spec.app == app and not run.is_built]:
            await self.cancel(run.spec.build_id, reason)

    def awaiting_release(self, app: str) -> Sequence[UUID]:
        """The builds of the app that have a result and wait for what becomes of it."""
        return [run.spec.build_id for run in self._runs.values() if run.spec.app == app and run.is_built]

    async def recover(self) -> Sequence[BuildRun]:
        """Go on with the builds that an earlier process left behind, or give them up where the runner cannot."""
        resumed = []
        for build in await self._records.unfinished():
            asked = await self._records.request(build) if self._lasting is not None else None
            if asked is None:
                await self._give_up(build)
                continue
            run = self._begin(*asked, None)
            run.log.conclude(progress("The builder was started anew; the build goes on."))
            log.info("build_resumed", app=build.app, build_id=str(build.id))
            resumed.append(run)
        for build in await self._records.to_clear():
            asked = await self._records.request(build)
            if asked is not None:
                self._clearing.begin(asked[0])
        for build in await self._releases.unreleased():
            asked = await self._records.request(build)
            if asked is not None:
                resumed.append(self._go_on(*asked))
        return resumed

    async def close(self) -> None:
        """Stop all builds and record that, unless they outlive us; those that wait for a verdict just stop waiting."""
        self._is_closing = True
        await self._tasks.close()
        await self._clearing.close(seconds=STOP_SECONDS)

    def _expect_open(self) -> None:
        if self._is_closing:
            raise BuildFailedError("interrupted", CLOSING, hint=INTERRUPTED_HINT)

    def _begin(self, spec: BuildSpec, plan: Plan, tree: Tree | None) -> BuildRun:
        run = BuildRun(spec, plan, tree, self._logs.create(spec.app, spec.build_id))
        return self._spawn(run)

    def _go_on(self, spec: BuildSpec, plan: Plan) -> BuildRun:
        """Nothing but the release of a build is missing."""
        run = BuildRun(spec, plan, None, self._logs.create(spec.app, spec.build_id), is_built=True)
        run.log.conclude(progress("The builder was started anew; it goes on with the release."))
        log.info("release_resumed", app=spec.app, build_id=str(spec.build_id))
        return self._spawn(run)

    def _spawn(self, run: BuildRun) -> BuildRun:
        self._runs[run.spec.build_id] = run
        self._tasks.spawn(self._carry_out(run), name=f"build-{run.spec.build_id}")
        return run

    async def _withdraw(self, spec: BuildSpec) -> None:
        """It may have been stored though nobody was told so: the answer to the commit was lost."""
        error = BuildFailedError("interrupted", NOT_BEGUN, hint=INTERRUPTED_HINT)
        with contextlib.suppress(BuildNotFoundError):
            await insist(lambda: self._records.failed(spec.build_id, error))

    async def _give_up(self, build: Build) -> None:
        error = BuildFailedError("interrupted", INTERRUPTED, hint=INTERRUPTED_HINT)
        text = failure("Build failed", code=error.code, message=error.message, hint=error.hint)
        await self._records.failed(build.id, error)
        try:
            await self._logs.append_line(build.app, build.id, text)
        except OSError as exc:  # a full disk must not keep the builder from starting
            log.warning("build_log_not_ended", build_id=str(build.id), error=str(exc))
        log.info("build_interrupted", app=build.app, build_id=str(build.id))

    async def _carry_out(self, run: BuildRun) -> None:
        bind_context(app=run.spec.app, build_id=str(run.spec.build_id), actor=run.spec.actor)
        try:
            with self._releases.expect(run) as outcome:
                if run.is_built or await self._build(run):
                    run.log.conclude(progress("Build complete, making a release..."))
                    run.status = 0 if await outcome() else 1
        except asyncio.CancelledError:
            if run.is_built:
                run.log.conclude(
                    refusal("The builder is being stopped; `drycc releases list` shows what was deployed.")
                )
            raise
        finally:
            self._runs.pop(run.spec.build_id, None)
            self._logs.finish(run.spec.build_id)
            run.done.set()
        if run.is_built:  # also when its release failed: each of those leaves a workspace as well
            await self._tidy(run.spec.app, run.spec.number)

    async def _build(self, run: BuildRun) -> bool:
        """Build and record how it went; False when there is no result."""
        try:
            result = await self._work(run)
            release = self._releases.request(run.spec, result)
            await _stored(run, lambda: self._records.succeeded(run.spec.build_id, result, release=release))
            self._clearing.begin(run.spec)
        except BuildFailedError as error:
            await self._fail(run, error)
        except asyncio.CancelledError:
            if self._lasting is None or not (run.has_begun or run.tree is None):
                # When the database is away, the next process gives it up.
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(STOP_SECONDS):
                        await self._fail(run, BuildFailedError("interrupted", INTERRUPTED, hint=INTERRUPTED_HINT))
            else:
                run.log.conclude(
                    refusal("The builder is being restarted. The build goes on: push again in a moment to follow it.")
                )
            raise
        except Exception:
            log.exception("build_broke")
            hint = "This is a fault of the platform; its log says more."
            await self._fail(run, BuildFailedError("internal", "the builder failed unexpectedly", hint=hint))
        else:
            BUILDS.labels(BuildState.SUCCEEDED, "").inc()
            log.info("build_ended", state=BuildState.SUCCEEDED, image=result.image)
            return True
        return False

    async def _work(self, run: BuildRun) -> BuildResult:
        """Run the runner in a task of its own, so that cancelling the build and stopping the service stay apart."""
        run.work = work = asyncio.create_task(self._in_slot(run), name=f"runner-{run.spec.build_id}")
        if run.cancel_reason is not None:
            work.cancel()
        try:
            await asyncio.wait({work})
        except asyncio.CancelledError:
            work.cancel()
            await asyncio.wait({work}, timeout=STOP_SECONDS)
            raise
        # Also when it was just done: who cancelled it has been told so.
        if work.cancelled() or (run.cancel_reason is not None and work.exception() is None):
            raise BuildFailedError("cancelled", run.cancel_reason or "the build was cancelled")
        run.is_built = work.exception() is None
        return work.result()

    async def _in_slot(self, run: BuildRun) -> BuildResult:
        if self._slots.locked():
            run.log.conclude(progress("Waiting for other builds to end..."))
        async with self._slots:
            await _stored(run, lambda: self._records.started(run.spec.build_id))
            run.has_begun = True
            with BUILD_SECONDS.time():
                if run.tree is not None:
                    return await self._runner.build(run.tree, run.spec, run.plan, run.log)
                return await self._resume(run)

    async def _resume(self, run: BuildRun) -> BuildResult:
        if self._lasting is None:
            raise BuildFailedError("interrupted", INTERRUPTED, hint=INTERRUPTED_HINT)
        while True:
            try:
                config = await self._config_of(run.spec.app, run.spec.actor)
            except ControllerUnavailableError:
                await asyncio.sleep(CONFIG_PAUSE_SECONDS)
            except PushNotAllowedError as exc:
                raise BuildFailedError("cancelled", exc.detail) from exc
            else:
                return await self._lasting.resume(replace(run.spec, config=config), run.plan, run.log)

    async def _fail(self, run: BuildRun, error: BuildFailedError) -> None:
        is_cancelled = error.code == "cancelled"
        state = BuildState.CANCELLED if is_cancelled else BuildState.FAILED
        BUILDS.labels(state, error.code).inc()
        what = "Build cancelled" if is_cancelled else "Build failed"
        # Its last lines have just been streamed, so they are not repeated here.
        run.log.conclude(failure(what, code=error.code, message=error.message, hint=error.hint))
        if is_cancelled:
            await _stored(run, lambda: self._records.cancelled(run.spec.build_id, error.message))
        else:
            await _stored(run, lambda: self._records.failed(run.spec.build_id, error))
        self._clearing.begin(run.spec)
        log.info("build_ended", state=state, code=error.code)


async def _stored(run: BuildRun, change: Callable[[], Awaitable[None]]) -> None:
    """A change of the build's state is stored whenever the database is back; who waits for it is told why."""
    told = progress("The builder's database does not answer; waiting, to store how this build stands...")
    await insist(change, on_absence=lambda: run.log.conclude(told))
