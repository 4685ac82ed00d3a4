"""The engine port, implemented with processes of this machine."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from controller.domain.builds import WORKSPACE_PREFIX
from controller.domain.spec import AppObservation, AppSpec, EngineEvent, Failure, JobSpec, JobState, ProcessSpec
from controller.domain.spec_network import NetworkObservation, NetworkSpec
from controller.domain.spec_storage import VolumeSpec
from controller.engine.local.app import LocalApp
from controller.engine.local.board import JobBoard
from controller.engine.local.census import send
from controller.engine.local.child import Child, remove_left_containers
from controller.engine.local.config import LocalEngineConfig
from controller.engine.local.containers import is_installed
from controller.engine.local.edge import Edge
from controller.engine.local.exec import LocalExecSession, start_session
from controller.engine.local.launch import Launch
from controller.engine.local.machine import Machine
from controller.engine.local.tasks import cancel
from controller.engine.port import Feature, FileStore, NotSupportedError, StillThereError
from controller.engine.watchers import Watchers
from shared.errors import NotFoundError
from shared.logging import get_logger

log = get_logger(__name__)

_REMOVE_SECONDS = 15.0
_LAST_SECONDS = 0.4


class LocalEngine:
    """Runs apps on this machine. Owns their processes: `close` ends them all."""

    def __init__(self, config: LocalEngineConfig) -> None:
        self._config = config
        self._machine = Machine.of(config)
        self._edge = Edge(config)
        self._watchers = Watchers()
        self._apps: dict[str, LocalApp] = {}
        self._removals: dict[str, asyncio.Task[None]] = {}
        self._jobs = JobBoard(self._machine, changed=self._watchers.changed)
        self._sessions: set[LocalExecSession] = set()

    @property
    def features(self) -> frozenset[Feature]:
        """Nothing beyond running processes and routing to them."""
        return frozenset()

    def why_not(self, what: str) -> None:
        """Nothing beyond `features`."""
        del what

    def check_network(self, app: str, network: NetworkSpec) -> None:
        """The edge takes any number of host names, and the rest of a network is not its business."""
        del app, network

    async def network(self, app: str) -> NetworkObservation:
        """Nothing: the edge is not the app's own."""
        del app
        return NetworkObservation()

    async def check_volume(self, app: str, volume: VolumeSpec) -> None:
        """There are no volumes here.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(f"{app} cannot have the volume {volume.name}: this engine has no volumes")

    async def files(self, app: str, volume: str) -> FileStore:
        """There are no volumes here.

        Raises:
            NotSupportedError: always.
        """
        raise NotSupportedError(f"{app} has no volume {volume}: this engine has no volumes")

    async def start(self) -> None:
        """End what an earlier run of this home has left, then become ready."""
        strays = await self._machine.census.strays()
        send(strays, signal.SIGKILL)
        if strays:
            log.warning("strays_ended", count=len(strays))
        await remove_left_containers(self._machine)
        await self._machine.limits.start()
        await self._edge.start()

    async def close(self) -> None:
        """End every process that was started, politely for a moment, then by force; nothing of them survives."""
        await cancel(*self._removals.values())
        await asyncio.gather(*(group.halt() for app in self._apps.values() for group in app.groups))
        tasks = [task for app in self._apps.values() for group in app.groups for task in group.instance_tasks]
        tasks += self._jobs.halt()
        await asyncio.gather(*(session.close() for session in self._sessions))
        await self._finish(tasks)
        self._watchers.close()
        await self._machine.logs.close()
        await self._machine.limits.close()

    async def apply(self, spec: AppSpec) -> None:
        """Record what the app should be; the process groups converge in the background.

        Raises:
            NotSupportedError: see `check`.
            StillThereError: an app of this name is just being removed.
        """
        for process in spec.processes:
            self.check(process)
        if spec.app in self._removals:
            raise StillThereError(f"{spec.app} is being removed; try again when it is gone")
        if spec.app not in self._apps:
            self._apps[spec.app] = LocalApp(
                self._machine, self._edge, spec.app, changed=lambda: self._watchers.changed(spec.app)
            )
        await self._apps[spec.app].apply(spec)

    async def remove(self, app: str) -> None:
        """Processes, routes, one-offs and logs of the app are gone when this returns.

        Raises:
            StillThereError: a process takes longer to end; it goes on in the background.
        """
        task = self._removals.get(app)
        if task is None:
            self._removals[app] = task = asyncio.create_task(self._remove(app), name=f"remove {app}")
            task.add_done_callback(lambda _: self._removals.pop(app, None))
        done, _ = await asyncio.wait({task}, timeout=_REMOVE_SECONDS)
        if not done:
            raise StillThereError(f"processes of {app} still take their time to end")
        task.result()

    def watch(self) -> AsyncIterator[str]:
        """Names of apps whose observation has changed."""
        return self._watchers.watch()

    async def observe(self, app: str) -> AppObservation:
        """What is there now."""
        jobs = self._jobs.states(app)
        if known := self._apps.get(app):
            return known.observe(jobs)
        return AppObservation(app, (), tuple(jobs))

    async def events(
        self, app: str, *, instance: str | None = None, ptype: str | None = None
    ) -> tuple[EngineEvent, ...]:
        """Nothing: all that is known is in the observation."""
        del app, instance, ptype
        return ()

    async def explain(self, app: str, ptype: str) -> Failure | None:
        """Why the newest instance of that type is not ready."""
        known = self._apps.get(app)
        return None if known is None else await known.explain(ptype)

    async def run(self, job: JobSpec) -> None:
        """Start a one-off; one of this name that exists is left as it is."""
        self.check(job.process)
        await self._jobs.run(job)

    async def job(self, app: str, name: str) -> JobState | None:
        """Where that one-off stands."""
        return await self._jobs.find(app, name)

    async def stop_job(self, app: str, name: str) -> None:
        """End a one-off that runs."""
        if job := self._jobs.get(app, name):
            job.stop()

    async def logs(self, app: str, *, instance: str | None, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """Output of one instance as it was written, or of all merged, each line with its time and origin.

        Raises:
            NotFoundError: nothing of such an app or instance is kept.
        """
        async for piece in self._machine.logs.app(app).read(instance, lines=lines, follow=follow):
            yield piece

    async def write_app_log(self, app: str, text: str) -> None:
        """A message of the platform in the app's log."""
        await self._machine.logs.write_controller_line(app, text)

    async def exec(
        self, app: str, instance: str, *, command: Sequence[str], tty: bool, stdin: bool
    ) -> LocalExecSession:
        """Start a command beside a running instance or one-off, in its environment and directory.

        Raises:
            NotFoundError: no such instance runs now.
        """
        running = self._running(app, instance)
        if running is None:
            raise NotFoundError(f"{instance} does not run; see `drycc ps` for what does")
        launch, child = running
        session = await start_session(launch, child, instance, command=command, tty=tty, stdin=stdin)
        self._sessions = {known for known in self._sessions if not known.has_ended} | {session}
        return session

    async def stop_instance(self, app: str, instance: str) -> None:
        """End one instance (another takes its place) or one-off (none does)."""
        if (known := self._apps.get(app)) and (found := known.find(instance)):
            group, member = found
            group.stop_instance(member)
        elif job := self._jobs.get(app, instance):
            job.stop()

    def has_machine(self, tags: Mapping[str, str]) -> bool:
        """The one machine has no labels."""
        return not tags

    def check(self, process: ProcessSpec) -> None:
        """Refuse container images where no tool for them is installed.

        Raises:
            NotSupportedError: says what to do instead.
        """
        needs_tool = process.stack == "container" or not process.image.startswith(WORKSPACE_PREFIX)
        if needs_tool and not is_installed():
            raise NotSupportedError(
                "container images need docker, podman or buildah on this machine, and none is installed; "
                "push an app with a Procfile, which needs none"
            )

    def _running(self, app: str, instance: str) -> tuple[Launch, Child] | None:
        if (known := self._apps.get(app)) and (found := known.find(instance)):
            return found[1].running
        job = self._jobs.get(app, instance)
        return job.running if job else None

    async def _remove(self, app: str) -> None:
        if known := self._apps.get(app):
            await known.remove()
            # Unless the app has come back while the old one went.
            if self._apps.get(app) is known:
                del self._apps[app]
        await self._jobs.remove(app)
        await self._machine.logs.remove(app)
        self._watchers.changed(app)

    async def _finish(self, tasks: list[asyncio.Task[Any]]) -> None:
        """Wait for these to end, then end whatever still carries our mark."""
        if tasks:
            await asyncio.wait(tasks, timeout=self._config.close_grace.total_seconds() + 0.1)
        strays = await self._machine.census.strays()
        send(strays, signal.SIGKILL)
        await self._machine.containers.remove_used()
        if left := [task for task in tasks if not task.done()]:
            await asyncio.wait(left, timeout=_LAST_SECONDS)
        for task in tasks:
            task.cancel()
