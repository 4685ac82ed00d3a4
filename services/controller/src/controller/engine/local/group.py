"""All instances of one process type of one app, brought step by step to what is wanted now."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

from controller.domain.spec import Failure, InstanceState, ProcessSpec, PtypeState
from controller.engine.local.instance import Instance
from controller.engine.local.machine import Machine
from controller.engine.local.rollout import next_step
from controller.engine.local.tasks import cancel, report
from shared.logging import get_logger

log = get_logger(__name__)

# A request may have read the old address of an instance a moment before the edge was told the new one.
_MIN_DRAIN_SECONDS = 0.15
_DRAIN_POLL_SECONDS = 0.05
_RETRY_SECONDS = 1.0

Publish = Callable[["ProcessGroup"], Awaitable[tuple[str, ...]]]
"""Tell the edge where a process type is to be found; gives the addresses that the edge goes by then."""


class ProcessGroup:
    """Level-triggered: `want` says what should be, one loop works towards whatever was said last."""

    def __init__(
        self, machine: Machine, app: str, spec: ProcessSpec, *, publish: Publish, changed: Callable[[], None]
    ) -> None:
        self._machine = machine
        self._app = app
        self._spec = spec
        self._publish = publish
        self._changed = changed
        self._wake = asyncio.Event()
        self._tasks: dict[Instance, asyncio.Task[None]] = {}
        self._retirements: set[asyncio.Task[None]] = set()
        self._proven = ""
        self._published: tuple[str, ...] = ()
        self._failure: Failure | None = None
        self._removed = False
        self._gone = asyncio.Event()
        self._loop = asyncio.create_task(self._run(), name=f"group {app}/{spec.ptype}")
        self._loop.add_done_callback(report)
        self._wake.set()

    @property
    def state(self) -> PtypeState:
        """How far it is. Retired instances serve no more and do not count."""
        live = self._live()
        current = [instance for instance in live if instance.fingerprint == self._spec.fingerprint]
        settled = len(live) == len(current) == self._spec.replicas and all(i.is_ready for i in current)
        settled = settled and self._published == tuple(self.addresses())
        return PtypeState(
            ptype=self._spec.ptype,
            fingerprint=self._spec.fingerprint,
            ready=sum(instance.is_ready for instance in live),
            updated=len(current),
            desired=self._spec.replicas,
            settled=settled,
            failure=self._failure,
        )

    @property
    def instances(self) -> list[InstanceState]:
        """Every instance of it, the retired ones included until they have ended."""
        return [instance.state for instance in self._tasks]

    @property
    def is_removed(self) -> bool:
        """Whether the type should not be there at all; `wait_gone` tells when it is so."""
        return self._removed

    def addresses(self) -> list[str]:
        """Where its ready instances take connections."""
        return [instance.endpoint.address for instance in self._live() if instance.endpoint and instance.is_ready]

    async def explain(self) -> Failure | None:
        """Why the newest instance that is wanted now is not ready; None when it is, or when there is none."""
        current = [instance for instance in self._live() if instance.fingerprint == self._spec.fingerprint]
        late = [instance for instance in current if not instance.is_ready]
        return self._failure or (await late[-1].explain() if late else None)

    def find(self, name: str) -> Instance | None:
        """The instance of that name."""
        return next((instance for instance in self._tasks if instance.name == name), None)

    def want(self, spec: ProcessSpec) -> None:
        """From now on, work towards this."""
        if spec.fingerprint != self._spec.fingerprint:
            self._failure = None
        self._spec = spec
        self._removed = False
        self._gone.clear()
        self._wake.set()

    def remove(self) -> None:
        """From now on, work towards there being none."""
        self._spec = replace(self._spec, replicas=0)
        self._removed = True
        self._on_change()

    def stop_instance(self, instance: Instance) -> None:
        """Retire that one; the loop starts another in its place."""
        if not instance.retired:
            self._retire(instance)

    async def wait_gone(self) -> None:
        """Until no instance is left after `remove`."""
        await self._gone.wait()

    async def halt(self) -> None:
        """Stop converging and order every instance to end soon; `instance_tasks` end by themselves then."""
        await cancel(self._loop, *self._retirements)
        for instance in self._tasks:
            instance.retired = True
            instance.stop(self._machine.config.close_grace)

    @property
    def instance_tasks(self) -> list[asyncio.Task[None]]:
        """The tasks of all instances that have not ended."""
        return list(self._tasks.values())

    def _live(self) -> list[Instance]:
        return [instance for instance in self._tasks if not instance.retired]

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._step()
            except Exception:
                # Whatever it was, the next step starts from what is there then.
                log.exception("group_step_failed", app=self._app, ptype=self._spec.ptype)
                await asyncio.sleep(_RETRY_SECONDS)
                self._wake.set()

    async def _step(self) -> None:
        # The edge goes by the new instances before an old one is given up for them.
        self._published = await self._publish(self)
        await self._judge()
        step = next_step(self._live(), fingerprint=self._spec.fingerprint, wanted=self._spec.replicas)
        for instance in step.retire:
            self._retire(instance)
        for _ in range(step.start):
            self._add()
        self._changed()

    async def _judge(self) -> None:
        """Set or clear the failure of the spec that is wanted now."""
        current = [instance for instance in self._live() if instance.fingerprint == self._spec.fingerprint]
        if any(instance.is_ready for instance in current):
            self._proven = self._spec.fingerprint
            self._failure = None
        if self._proven == self._spec.fingerprint or self._failure is not None:
            return
        failed = next((instance.failure for instance in current if instance.has_failed), None)
        if failed is None:
            return
        judged = self._spec.fingerprint
        log.info("rollout_failed", app=self._app, ptype=failed.ptype, code=failed.code)
        await self._machine.logs.write_controller_line(self._app, f"{failed.message}. {failed.hint}")
        if self._spec.fingerprint == judged:
            self._failure = failed

    def _add(self) -> None:
        instance = Instance(self._machine, self._app, self._spec, changed=self._on_change)
        task = asyncio.create_task(instance.run(), name=f"instance {instance.name}")
        self._tasks[instance] = task
        task.add_done_callback(lambda task: self._on_end(instance, task))

    def _on_change(self) -> None:
        if self._removed and not self._tasks:
            self._gone.set()
        self._wake.set()
        self._changed()

    def _on_end(self, instance: Instance, task: asyncio.Task[None]) -> None:
        report(task)
        self._tasks.pop(instance, None)
        self._on_change()

    def _retire(self, instance: Instance) -> None:
        served = instance.endpoint
        instance.retired = True
        task = asyncio.create_task(self._end(instance, served.port if served else None), name=f"retire {instance.name}")
        self._retirements.add(task)
        task.add_done_callback(self._retirements.discard)
        task.add_done_callback(report)
        self._on_change()

    async def _end(self, instance: Instance, port: int | None) -> None:
        if port is not None:
            await self._publish(self)
            if not self._removed:
                await self._drain(port)
        instance.stop()
        if task := self._tasks.get(instance):
            await asyncio.wait({task})

    async def _drain(self, port: int) -> None:
        """Let requests in flight come to their end: until no connection stands, or for the drain deadline."""
        await asyncio.sleep(_MIN_DRAIN_SECONDS)
        deadline = self._machine.config.drain_deadline.total_seconds()
        try:
            async with asyncio.timeout(deadline):
                while await self._machine.census.open_connections(port):  # noqa: ASYNC110 - the kernel tells nobody
                    await asyncio.sleep(_DRAIN_POLL_SECONDS)
        except TimeoutError:
            log.info("drain_ended", app=self._app, port=port, reason=f"connections stood after {deadline:g} s")
