"""One start of an instance: from the free port to the end of the process, with the reason when it did not come up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from controller.domain.spec import Failure, ProcessSpec
from controller.engine.exits import describe_exit
from controller.engine.local import diagnose, probes
from controller.engine.local.beside import run_beside
from controller.engine.local.census import Listeners
from controller.engine.local.child import Child, start_child
from controller.engine.local.launch import Launch, LaunchError, prepare
from controller.engine.local.logs import LogWriter
from controller.engine.local.machine import Machine
from controller.engine.local.tasks import cancel

_HINT_SECONDS = 5.0
_FOREIGN_PORT_SECONDS = 0.1
_LEFTOVER_GRACE = timedelta(seconds=2)


@dataclass(frozen=True)
class Endpoint:
    """Where a ready instance takes connections."""

    host: str
    port: int

    @property
    def address(self) -> str:
        """`127.0.0.1:23456` or `[::1]:23456`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Surroundings:
    """What an attempt gets from its instance. `stop` is done when the instance is to end."""

    machine: Machine
    app: str
    instance: str
    spec: ProcessSpec
    writer: LogWriter
    stop: asyncio.Future[None]


class Attempt:
    """Starts the process, waits until it is ready, then until it ends or is to end. Used once."""

    def __init__(self, around: Surroundings, *, port: int, became_ready: Callable[[Endpoint | None], None]) -> None:
        self._around = around
        self._spec = around.spec
        self._port = port
        self._became_ready = became_ready
        self._verdict: probes.Verdict | None = None
        self._was_ready = False
        self._began = asyncio.get_running_loop().time()
        self.child: Child | None = None
        self.launch: Launch | None = None

    async def run(self) -> Failure | None:
        """Until the process ends, is found dead, or is to stop. It may still run then: call `clear_away`.

        A failure says why it did not become ready; None says that it did, or that it was stopped before.
        """
        try:
            self.child = child = await self._start()
        except LaunchError as exc:
            return diagnose.of_launch(self._facts(), exc)
        ended = asyncio.create_task(child.wait(), name=f"wait {self._around.instance}")
        try:
            failure = await self._come_up(child, ended)
            if self._was_ready and not self._around.stop.done():
                await self._stay(child, ended)
            return failure
        finally:
            await cancel(ended)

    async def clear_away(self, grace: timedelta) -> None:
        """End whatever is left of it. An end of its own accord leaves children little time."""
        if self.child is not None:
            await self.child.stop(grace if self._around.stop.done() else min(grace, _LEFTOVER_GRACE))

    async def explain(self) -> Failure | None:
        """Why it is not ready so far; None before it was started and once it is ready."""
        if self.child is None or self._was_ready:
            return None
        waited = asyncio.get_running_loop().time() - self._began
        return await self._deadline_failure(self.child, timedelta(seconds=waited))

    async def _start(self) -> Child:
        around = self._around
        config = around.machine.config
        self.launch = await asyncio.to_thread(prepare, config, self._spec, instance=around.instance, port=self._port)
        return await start_child(
            around.machine,
            self.launch,
            instance=around.instance,
            writer=around.writer,
            memory_bytes=self._spec.memory_bytes,
        )

    async def _come_up(self, child: Child, ended: asyncio.Task[int]) -> Failure | None:
        deadline = self._deadline()
        name = self._around.instance
        coming = asyncio.create_task(self._until_ready(child), name=f"ready {name}")
        hint = asyncio.create_task(self._hint(child), name=f"hint {name}")
        try:
            await self._first(ended, coming, timeout=deadline)
            if self._around.stop.done():
                return None
            if ended.done():
                return await self._exit_failure(child, ended.result())
            if not coming.done():
                return await self._deadline_failure(child, deadline)
            self._was_ready = True
            self._became_ready(coming.result())
            return None
        finally:
            await cancel(coming, hint)

    async def _stay(self, child: Child, ended: asyncio.Task[int]) -> None:
        tasks: list[asyncio.Task[Any]] = [ended]
        dying: asyncio.Task[probes.Verdict] | None = None
        if self._spec.liveness is not None:
            coroutine = probes.until_dead(self._spec.liveness, self._target(child))
            dying = asyncio.create_task(coroutine, name=f"liveness {self._around.instance}")
            tasks.append(dying)
        try:
            await self._first(*tasks)
            if not self._around.stop.done():
                await self._tell(f"{self._around.instance} {_why(child, ended, dying)}; it is started again")
        finally:
            if dying is not None:
                await cancel(dying)

    async def _first(self, *tasks: asyncio.Task[Any], timeout: timedelta | None = None) -> None:
        """Wait for one of these or for the order to stop."""
        waiting: set[asyncio.Future[Any]] = {*tasks, self._around.stop}
        seconds = timeout.total_seconds() if timeout is not None else None
        await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)

    async def _until_ready(self, child: Child) -> Endpoint | None:
        probe = probes.readiness_of(self._spec)
        if probe is None:
            await asyncio.sleep(self._around.machine.config.settle_time.total_seconds())
            return None
        while True:
            await probes.until_passed(probe, self._target(child), seen=self._saw)
            if not self._spec.must_listen:
                return None
            host = await probes.serving_host(self._port)
            if host is not None and await self._is_ours(child):
                return Endpoint(host, self._port)
            await asyncio.sleep(_FOREIGN_PORT_SECONDS)

    async def _is_ours(self, child: Child) -> bool:
        """Nobody else's process has taken the port between our look and the app's bind."""
        if child.tool is not None:
            return True
        listeners = await self._listeners(child)
        return self._port in listeners.ports or listeners.unknown

    async def _listeners(self, child: Child) -> Listeners:
        return await self._around.machine.census.listeners(await child.members())

    def _saw(self, verdict: probes.Verdict) -> None:
        # A refusal says more than the silence that may follow it.
        if self._verdict is None or verdict.status is not None or self._verdict.status is None:
            self._verdict = verdict

    async def _hint(self, child: Child) -> None:
        """Tell early what a wrong port will lead to; it may still be a slow start, so it is no failure yet."""
        if not self._spec.must_listen or child.tool is not None:
            return
        while True:
            await asyncio.sleep(_HINT_SECONDS)
            listeners = await self._listeners(child)
            if listeners.ports and self._port not in listeners.ports:
                what = diagnose.listening_text(listeners.ports, self._port)
                await self._tell(f"{self._around.instance} {what}; still waiting")
                return

    async def _exit_failure(self, child: Child, status: int) -> Failure:
        # Its last words may still be in the pipe, so the reason is looked for when all of it has ended.
        await self.clear_away(_LEFTOVER_GRACE)
        ran_out = child.limit.ran_out(self._around.writer.last_lines)
        return diagnose.of_exit(self._facts(ran_out=ran_out), status)

    async def _deadline_failure(self, child: Child, deadline: timedelta) -> Failure:
        listeners = await self._listeners(child)
        facts = self._facts(ran_out=child.limit.ran_out(()), listens_on=listeners.ports)
        must_listen = self._spec.must_listen and child.tool is None and not listeners.unknown
        return diagnose.of_deadline(facts, deadline, must_listen=must_listen, verdict=self._verdict)

    def _facts(self, *, ran_out: bool = False, listens_on: frozenset[int] = frozenset()) -> diagnose.Facts:
        return diagnose.Facts(
            ptype=self._spec.ptype,
            command=self._spec.shell or " ".join((*self._spec.command, *self._spec.args)),
            port=self._port,
            log=self._around.writer.last_lines,
            memory_bytes=self._spec.memory_bytes,
            ran_out_of_memory=ran_out,
            listens_on=listens_on,
        )

    def _deadline(self) -> timedelta:
        budget = self._spec.readiness.budget if self._spec.readiness else timedelta(0)
        return max(self._spec.start_deadline or self._around.machine.config.start_deadline, budget)

    def _target(self, child: Child) -> probes.Target:
        async def run(command: Sequence[str], seconds: float) -> int:
            if self.launch is None:
                return 1
            return await run_beside(self.launch, child, self._around.instance, command, seconds)

        return probes.Target(self._port, self._spec.port, run, only_port=self._spec.must_listen)

    async def _tell(self, text: str) -> None:
        await self._around.machine.logs.write_controller_line(self._around.app, text)


def _why(child: Child, ended: asyncio.Task[int], dying: asyncio.Task[probes.Verdict] | None) -> str:
    if ended.done():
        memory = " (out of memory)" if child.limit.ran_out(()) else ""
        return f"ended with {describe_exit(ended.result())}{memory}"
    reason = dying.result().reason if dying is not None and dying.done() else ""
    return f"failed its liveness check ({reason})"
