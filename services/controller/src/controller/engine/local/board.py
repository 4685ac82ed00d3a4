"""All one-offs of the engine: started, found again, forgotten when their time has come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from datetime import UTC, datetime

from controller.domain.spec import InstanceState, JobSpec, JobState
from controller.engine.local.jobs import Job, read_record, record_path
from controller.engine.local.machine import Machine
from controller.engine.local.tasks import report

_SAFE = re.compile(r"[a-z0-9][a-z0-9-]*")


class JobBoard:
    """Owns the tasks of one-offs."""

    def __init__(self, machine: Machine, *, changed: Callable[[str], None]) -> None:
        self._machine = machine
        self._changed = changed
        self._jobs: dict[tuple[str, str], Job] = {}
        self._tasks: dict[tuple[str, str], asyncio.Task[None]] = {}

    async def run(self, spec: JobSpec) -> None:
        """Start it, unless there is (or was) one of this name."""
        key = (spec.app, spec.name)
        if await self.find(*key) is not None:
            return
        job = Job(self._machine, spec, changed=lambda: self._changed(spec.app))
        self._jobs[key] = job
        self._tasks[key] = task = asyncio.create_task(job.run(), name=f"job {spec.name}")
        task.add_done_callback(report)
        self._forget_old()

    async def find(self, app: str, name: str) -> JobState | None:
        """Where it stands; from its record when an earlier run of the platform ran it."""
        if job := self._jobs.get((app, name)):
            return job.state
        if not (_SAFE.fullmatch(app) and _SAFE.fullmatch(name)):
            return None
        return await asyncio.to_thread(read_record, record_path(self._machine.config.logs, app, name))

    def get(self, app: str, name: str) -> Job | None:
        """The job of this run of the platform."""
        return self._jobs.get((app, name))

    def states(self, app: str) -> list[InstanceState]:
        """The one-offs of an app that are still to be seen."""
        self._forget_old()
        return [job.instance_state for (owner, _), job in self._jobs.items() if owner == app]

    async def remove(self, app: str) -> None:
        """End and forget everything of an app."""
        keys = [key for key in self._jobs if key[0] == app]
        for key in keys:
            self._jobs[key].stop()
        if tasks := [self._tasks[key] for key in keys if key in self._tasks]:
            await asyncio.wait(tasks)
        for key in keys:
            self._jobs.pop(key, None)
            self._tasks.pop(key, None)

    def halt(self) -> list[asyncio.Task[None]]:
        """Order all to end soon; gives the tasks that end by themselves then."""
        for job in self._jobs.values():
            job.halt(self._machine.config.close_grace)
        return [task for task in self._tasks.values() if not task.done()]

    def _forget_old(self) -> None:
        now = datetime.now(UTC)
        for key, job in list(self._jobs.items()):
            ended_at = job.state.ended_at
            if ended_at is not None and now - ended_at > job.spec.ttl:
                del self._jobs[key]
                self._tasks.pop(key, None)
