"""The local runner: builds apps in directories of this machine, without containers unless the app has a Dockerfile."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Coroutine
from pathlib import Path
from uuid import UUID
from weakref import WeakValueDictionary

from builder.files import remove_tree
from builder.runner.checks import make_plan
from builder.runner.local.config import LocalRunnerConfig
from builder.runner.local.container import ContainerBuilder
from builder.runner.local.context import BuildContext, is_complete
from builder.runner.local.disk import DiskLimit, explained
from builder.runner.local.environment import build_environment, marks
from builder.runner.local.interpreters import Interpreters
from builder.runner.local.node import NodeBuilder
from builder.runner.local.process import Steps, end_marked
from builder.runner.local.python import PythonBuilder
from builder.runner.local.static import START, build_static
from builder.runner.local.workspace import Launch, Store, Workspace
from builder.runner.port import BuildFailedError, BuildResult, BuildSpec, Log, Plan, Tree


class LocalRunner:
    """Builds on this machine; see `builder.runner.port.Runner`. Builds of one app run one after another."""

    def __init__(self, config: LocalRunnerConfig) -> None:
        self._config = config
        self._store = Store(config.workspaces, config.caches)
        self._interpreters = Interpreters(config.python, config.host_environment)
        self._python = PythonBuilder(self._interpreters)
        self._node = NodeBuilder(config)
        self._containers = ContainerBuilder(config.host_environment)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._started: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Remove what a crash left behind. Called by itself before the first build, if not before."""
        if self._started is None:
            self._started = asyncio.create_task(
                asyncio.to_thread(self._store.remove_stale), name="remove stale workspaces"
            )
        await asyncio.shield(self._started)

    async def check(self, tree: Tree, spec: BuildSpec) -> Plan:
        """Find out, from the tree alone and within a moment, what a build would do and what stands against it.

        Raises:
            BuildFailedError: no-procfile, bad-procfile, bad-dryccfile, nothing-recognised, container-tool-missing, or
                build-failed when this machine lacks the language.
        """
        plan = await make_plan(tree, spec, static_start=START)
        if plan.kind == "container":
            await self._containers.find()
        elif plan.kind == "python":
            await self._interpreters.choose(tree.read)
        elif plan.kind == "node":
            await self._node.find()
        return plan

    async def build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> BuildResult:
        """Build completely, within the limits. After a failure or a cancellation nothing of the build is left.

        Raises:
            BuildFailedError: with step, exit status, last lines and a hint.
        """
        await self.start()
        async with self._locks.setdefault(spec.app, asyncio.Lock()):
            limit = spec.limits.timeout
            try:
                async with asyncio.timeout(limit.total_seconds()) as deadline:
                    await self._build(source, spec, plan, log)
            except TimeoutError as exc:
                if not deadline.expired():
                    raise
                raise BuildFailedError(
                    "build-timeout",
                    f"the build took longer than {_duration(limit.total_seconds())} and was stopped",
                    hint="look for a step that waits or does too much, or have the limit raised",
                ) from exc
        image = f"workspace/{spec.app}:{spec.build_id}"
        return BuildResult(image, plan.stack, dict(plan.procfile), dict(plan.dryccfile), plan.dockerfile)

    async def discard(self, app: str, keep: set[UUID] | None) -> None:
        """Remove all of a deleted app (None), or all workspaces but `keep` and the newest, and caches of no use.

        Waits for a running build of the app to end.
        """
        async with self._locks.setdefault(app, asyncio.Lock()):
            if keep is None:
                removed = await asyncio.to_thread(self._store.remove_app, app)
            else:
                removed = await asyncio.to_thread(self._store.retain, app, keep, self._config.builds_kept)
        await self._containers.remove(removed)

    async def _build(self, source: Path | Tree, spec: BuildSpec, plan: Plan, log: Log) -> None:
        workspace = await asyncio.to_thread(self._store.begin, spec.app, spec.build_id)
        disk = DiskLimit(spec.limits.disk_bytes, interval_seconds=self._config.disk_check_seconds)
        context = self._context(spec, plan, log, workspace, disk)
        try:
            with explained("the build could not be stored"):
                await disk.add(workspace.partial)
                await _while_watched(self._work(source, context), disk)
        finally:
            await asyncio.shield(self._clean_up(spec, workspace))

    async def _work(self, source: Path | Tree, context: BuildContext) -> None:
        for note in context.plan.notes:
            await context.steps.heading(note)
        await _fill(context.workspace.source, source, context.spec.limits.disk_bytes)
        launch = await self._launch(context)
        await context.disk.check()
        await asyncio.to_thread(context.workspace.complete, launch)

    async def _launch(self, context: BuildContext) -> Launch:
        match context.plan.kind:
            case "python":
                return await self._python.build(context)
            case "node":
                return await self._node.build(context)
            case "static":
                return await build_static(context)
            case "container":
                return await self._containers.build(context)
            case _:
                await context.steps.heading("Procfile app detected, nothing to build")
                return Launch("procfile")

    def _context(self, spec: BuildSpec, plan: Plan, log: Log, workspace: Workspace, disk: DiskLimit) -> BuildContext:
        variables = {**spec.config.group("global"), **plan.arguments}
        environment = build_environment(
            self._config.host_environment, variables, home=workspace.scratch("home"), temporary=workspace.scratch("tmp")
        )
        environment |= {"DRYCC_APP": spec.app, "SOURCE_VERSION": spec.sha}
        steps = Steps(
            log=log,
            build_id=spec.build_id,
            environment=environment,
            marks=marks(spec.build_id, self._config.process_mark),
        )
        return BuildContext(spec, plan, self._config, workspace, self._store.caches(spec.app), steps, disk)

    async def _clean_up(self, spec: BuildSpec, workspace: Workspace) -> None:
        await end_marked(spec.build_id)
        await asyncio.to_thread(_remove_unfinished, workspace, self._store.caches(spec.app))


async def _while_watched(work: Coroutine[None, None, None], disk: DiskLimit) -> None:
    """Run the work until it ends or the disk limit is passed, whichever is first."""
    working = asyncio.create_task(work, name="build")
    watching = asyncio.create_task(disk.watch(), name="build disk limit")
    try:
        done, _ = await asyncio.wait({working, watching}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (working, watching):
            task.cancel()
        await asyncio.wait({working, watching})
    for task in (working, watching):
        if task in done:
            await task


async def _fill(destination: Path, source: Path | Tree, max_bytes: int) -> None:
    match source:
        case Path() as directory:
            await asyncio.to_thread(shutil.copytree, directory, destination, symlinks=True, dirs_exist_ok=True)
        case tree:
            await tree.extract(destination, max_bytes=max_bytes)


def _remove_unfinished(workspace: Workspace, caches: Path) -> None:
    with contextlib.suppress(OSError):
        remove_tree(workspace.partial)
    for cache in [*caches.glob("venv-*"), *caches.glob("node-*")]:
        if not is_complete(cache):
            with contextlib.suppress(OSError):
                remove_tree(cache)


def _duration(seconds: float) -> str:
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"
