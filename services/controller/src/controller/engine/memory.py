"""An engine that runs nothing: what it is told is true at once, unless a script says otherwise.

For tests of the state machine, load tests and replays of client conversations (`engine = "memory"`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

from controller.domain.spec import AppObservation, AppSpec, EngineEvent, Failure, JobSpec, JobState, ProcessSpec
from controller.domain.spec_network import NetworkObservation, NetworkSpec
from controller.domain.spec_storage import VolumeSpec
from controller.engine.memory_files import MemoryFiles, MemoryVolumes
from controller.engine.memory_io import MemoryExecSession
from controller.engine.memory_state import Group, KnownApp
from controller.engine.port import Feature
from shared.clock import Clock, SystemClock
from shared.errors import NotFoundError, SuiteError


class MemoryEngine:
    """Implements `engine.port.Engine`. `applies` counts the calls of `apply` by app, doubles included."""

    def __init__(self, *, clock: Clock | None = None, features: frozenset[Feature] = frozenset()) -> None:
        self.features = features
        self.applies: dict[str, int] = {}
        self._clock = clock or SystemClock()
        self._apps: dict[str, KnownApp] = {}
        self._watchers: set[asyncio.Queue[str | None]] = set()
        self._failing: dict[tuple[str, str], Failure] = {}
        self._held: set[tuple[str, str]] = set()
        self._explanations: dict[tuple[str, str], Failure] = {}
        self._job_exit_code: int | None = 0
        self._job_log: tuple[str, ...] = ()
        self._job_error: SuiteError | None = None
        self._networks: dict[str, NetworkObservation] = {}
        self._network_error: SuiteError | None = None
        self._volumes = MemoryVolumes(self._clock)
        self._machines: tuple[Mapping[str, str], ...] | None = None

    # --- the script ---

    def show_network(self, app: str, observation: NetworkObservation) -> None:
        """What `network` says of the app from now on."""
        self._networks[app] = observation

    def refuse_networks(self, error: SuiteError | None) -> None:
        """From now on networks are checked with this result; None: every network is possible."""
        self._network_error = error

    def refuse_volumes(self, error: SuiteError | None) -> None:
        """From now on volumes can neither be made nor grow, for this reason; None: they can."""
        self._volumes.refuse(error)

    def label_machines(self, *labels: Mapping[str, str]) -> None:
        """There are machines with these labels and no others; before, there is one for any tags."""
        self._machines = labels

    def fail(self, app: str, ptype: str, failure: Failure | None = None) -> None:
        """From now on new instances of `ptype` do not come up."""
        default = Failure("process-crashed", ptype, f"{ptype} ended with exit code 1", ("boom",), "read the log")
        self._failing[app, ptype] = failure or default

    def heal(self, app: str, ptype: str) -> None:
        """New instances come up again, those that failed included."""
        self._failing.pop((app, ptype), None)
        self._converge(app)

    def hold(self, app: str, ptype: str, *, reason: Failure | None = None) -> None:
        """From now on new instances start but are not ready until `let_go`; asked why, it gives the `reason`."""
        self._held.add((app, ptype))
        if reason is not None:
            self._explanations[app, ptype] = reason

    def let_go(self, app: str, ptype: str) -> None:
        """Held instances become ready."""
        self._held.discard((app, ptype))
        self._converge(app)

    def script_jobs(self, exit_code: int | None, *log: str) -> None:
        """What the next one-offs do: end with `exit_code` and this log, or run until `finish_job` (None)."""
        self._job_exit_code, self._job_log = exit_code, log

    def finish_job(self, app: str, name: str, exit_code: int, *, reason: str | None = None) -> None:
        """End a running one-off."""
        job, state = self._apps[app].jobs[name]
        ended = replace(
            state,
            state="crashed" if exit_code else "down",
            exit_code=exit_code,
            reason=reason or ("process-crashed" if exit_code else None),
            log=self._job_log,
            ended_at=self._clock.now(),
        )
        self._apps[app].jobs[name] = (job, ended)
        self._apps[app].log.end(name)
        self._changed(app)

    def forget_job(self, app: str, name: str) -> None:
        """Lose a one-off, as an engine that was set up anew would."""
        del self._apps[app].jobs[name]

    def refuse_jobs(self, error: SuiteError | None) -> None:
        """From now on starting a one-off fails like this; None: no more."""
        self._job_error = error

    def spec(self, app: str) -> AppSpec | None:
        """What the app should be, as last applied."""
        return self._apps[app].spec if app in self._apps else None

    def job_spec(self, app: str, name: str) -> JobSpec | None:
        """The one-off of that name, as it was started."""
        known = self._apps[app].jobs.get(name) if app in self._apps else None
        return None if known is None else known[0]

    # --- the port ---

    def why_not(self, what: str) -> None:
        """Nothing is known but the features."""
        del what

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """End every watch."""
        for queue in self._watchers:
            queue.put_nowait(None)

    async def apply(self, spec: AppSpec) -> None:
        """See `Engine.apply`."""
        self.applies[spec.app] = self.applies.get(spec.app, 0) + 1
        self._volumes.apply(spec.app, spec.volumes)
        app = self._apps.setdefault(spec.app, KnownApp(AppSpec(spec.app)))
        if app.spec == spec:
            return
        app.spec = spec
        for process in spec.processes:
            group = app.groups.setdefault(process.ptype, Group(process))
            if group.spec.fingerprint != process.fingerprint:
                group.failure = None
            group.spec = process
        app.groups = {ptype: group for ptype, group in app.groups.items() if spec.process(ptype)}
        self._converge(spec.app)

    async def remove(self, app: str) -> None:
        """See `Engine.remove`."""
        self._volumes.remove(app)
        if self._apps.pop(app, None) is not None:
            self._changed(app)

    async def watch(self) -> AsyncIterator[str]:
        """See `Engine.watch`."""
        queue: asyncio.Queue[str | None] = asyncio.Queue()
        self._watchers.add(queue)
        try:
            while (name := await queue.get()) is not None:
                yield name
        finally:
            self._watchers.discard(queue)

    async def observe(self, app: str) -> AppObservation:
        """See `Engine.observe`."""
        known = self._apps.get(app)
        if known is None:
            return AppObservation(app)
        states = tuple(group.state() for group in known.groups.values())
        return AppObservation(app, states, known.instances())

    async def events(
        self, app: str, *, instance: str | None = None, ptype: str | None = None
    ) -> tuple[EngineEvent, ...]:
        """Nothing: all that is known is in the observation."""
        del app, instance, ptype
        return ()

    async def explain(self, app: str, ptype: str) -> Failure | None:
        """What the script said, of instances that are held."""
        return self._explanations.get((app, ptype)) if (app, ptype) in self._held else None

    async def network(self, app: str) -> NetworkObservation:
        """What the script said, else nothing."""
        return self._networks.get(app, NetworkObservation())

    async def check_volume(self, app: str, volume: VolumeSpec) -> None:
        """See `Engine.check_volume`: what the script said."""
        del app, volume
        self._volumes.check()

    async def files(self, app: str, volume: str) -> MemoryFiles:
        """See `Engine.files`."""
        return self._volumes.files(app, volume)

    async def run(self, job: JobSpec) -> None:
        """See `Engine.run`."""
        if self._job_error is not None:
            raise self._job_error
        app = self._apps.setdefault(job.app, KnownApp(AppSpec(job.app)))
        if job.name in app.jobs:
            return
        app.jobs[job.name] = (job, JobState(job.name, "up", started_at=self._clock.now()))
        app.log.write(f"{job.app}[run.1]: {' '.join((*job.process.command, *job.process.args))}", job.name)
        if self._job_exit_code is None:
            self._changed(job.app)
        else:
            self.finish_job(job.app, job.name, self._job_exit_code)

    async def job(self, app: str, name: str) -> JobState | None:
        """See `Engine.job`."""
        known = self._apps[app].jobs.get(name) if app in self._apps else None
        return None if known is None else known[1]

    async def stop_job(self, app: str, name: str) -> None:
        """See `Engine.stop_job`."""
        state = await self.job(app, name)
        if state is not None and not state.finished:
            self.finish_job(app, name, 143, reason="stopped")

    async def logs(self, app: str, *, instance: str | None, lines: int, follow: bool) -> AsyncIterator[bytes]:
        """See `Engine.logs`."""
        known = self._apps.get(app)
        if known is None:
            return
        async for line in known.log.read(instance, lines=lines, follow=follow):
            yield line

    def write_log(self, app: str, text: str, *, instance: str | None = None) -> None:
        """Add a line to the app's log, as one of its instances or as the platform."""
        self._apps.setdefault(app, KnownApp(AppSpec(app))).log.write(text, instance)

    async def exec(
        self, app: str, instance: str, *, command: Sequence[str], tty: bool, stdin: bool
    ) -> MemoryExecSession:
        """See `Engine.exec`: the session says its command and then what it is sent."""
        if all(known.name != instance for known in (await self.observe(app)).instances):
            raise NotFoundError(f"no process is called {instance}")
        return MemoryExecSession(command, tty=tty, stdin=stdin)

    async def stop_instance(self, app: str, instance: str) -> None:
        """See `Engine.stop_instance`."""
        await self.stop_job(app, instance)
        for group in self._apps[app].groups.values() if app in self._apps else ():
            group.instances = [known for known in group.instances if known.name != instance]
        self._converge(app)

    def has_machine(self, tags: Mapping[str, str]) -> bool:
        """See `Engine.has_machine`."""
        return self._machines is None or any(tags.items() <= machine.items() for machine in self._machines)

    def check(self, process: ProcessSpec) -> None:
        """Nothing runs here, so that everything is possible."""

    def check_network(self, app: str, network: NetworkSpec) -> None:
        """See `Engine.check_network`: what the script said."""
        del app, network
        if self._network_error is not None:
            raise self._network_error

    def _converge(self, app: str) -> None:
        for ptype, group in self._apps[app].groups.items() if app in self._apps else ():
            if (app, ptype) in self._failing and group.outdated:
                group.failure = self._failing[app, ptype]
            elif (app, ptype) not in self._held or not group.outdated:
                group.failure = None
                group.settle(app, self._clock.now())
        self._changed(app)

    def _changed(self, app: str) -> None:
        for queue in self._watchers:
            queue.put_nowait(app)
