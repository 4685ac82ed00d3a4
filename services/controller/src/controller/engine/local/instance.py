"""One instance of a process type: started, and started again when it ends, until it is told to stop."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from controller.domain.spec import Failure, InstancePhase, InstanceState, ProcessSpec
from controller.engine.local.attempt import Attempt, Endpoint, Surroundings
from controller.engine.local.child import Child
from controller.engine.local.launch import Launch
from controller.engine.local.machine import Machine
from shared.errors import UnavailableError

ENDS_BEFORE_FAILURE = 3
"""A new instance that has ended this often without ever having been ready has failed (port contract)."""

# What another try cannot change is a failure at once.
_FINAL = frozenset({"command-not-found", "image-not-found", "container-tool-missing"})
_FINAL |= {"deadline-exceeded", "never-listened", "wrong-port", "readiness-refused"}
_RANDOM = random.SystemRandom()


class Instance:
    """Keeps one process of `spec` running. `changed` is called after every change that an observer could see."""

    def __init__(self, machine: Machine, app: str, spec: ProcessSpec, *, changed: Callable[[], None]) -> None:
        self._machine = machine
        self._app = app
        self._changed = changed
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._grace = spec.grace_period
        self._attempt: Attempt | None = None
        self._tries = 0
        self._phase: InstancePhase = "creating"
        self._started_at: datetime | None = None
        self._exit_status: int | None = None
        self._restarts = 0
        self._ends = 0
        self._was_ready = False
        self.spec = spec
        self.name = new_name(app, spec.ptype)
        self.endpoint: Endpoint | None = None
        self.ready = False
        self.retired = False
        self.failure: Failure | None = None

    @property
    def state(self) -> InstanceState:
        """What an observer sees."""
        return InstanceState(
            name=self.name,
            ptype=self.spec.ptype,
            release=self.spec.release,
            state="terminating" if self.retired and self._phase != "down" else self._phase,
            started_at=self._started_at,
            ready=self.is_ready,
            restarts=self._restarts,
            exit_code=exit_code(self._exit_status),
            fingerprint=self.spec.fingerprint,
        )

    @property
    def fingerprint(self) -> str:
        """Of the spec that it runs."""
        return self.spec.fingerprint

    @property
    def is_ready(self) -> bool:
        """It serves, and is to go on doing so."""
        return self.ready and not self.retired

    @property
    def has_failed(self) -> bool:
        """It did not come up, as the port's contract has it."""
        if self.failure is None or self._was_ready:
            return False
        return self.failure.code in _FINAL or self._ends >= ENDS_BEFORE_FAILURE

    @property
    def running(self) -> tuple[Launch, Child] | None:
        """The process and how it was started; None between two of them."""
        attempt = self._attempt
        if attempt is None or attempt.child is None or attempt.launch is None:
            return None
        return attempt.launch, attempt.child

    async def explain(self) -> Failure | None:
        """Why it is not ready: how it ended before, or what can be seen of it now."""
        if self.failure is not None or self._attempt is None:
            return self.failure
        return await self._attempt.explain()

    async def run(self) -> None:
        """Start it again and again until `stop` is called; nothing of it is left when this returns."""
        writer = await self._machine.logs.app(self._app).writer(self.name)
        around = Surroundings(self._machine, self._app, self.name, self.spec, writer, self._stop)
        try:
            # One that is retired and ends while its last requests are waited for is not started again.
            while not (self._stop.done() or self.retired):
                writer.forget()
                await self._try(around)
                await self._pause()
        finally:
            await writer.close()
            self._set_phase("down")

    def stop(self, grace: timedelta | None = None) -> None:
        """Order it to end for good; `run` returns when it has. `grace` shortens the spec's own."""
        if grace is not None:
            self._grace = min(grace, self._grace)
        if not self._stop.done():
            self._stop.set_result(None)

    async def _try(self, around: Surroundings) -> None:
        began = asyncio.get_running_loop().time()
        try:
            port = self._machine.ports.lend()
        except UnavailableError as exc:
            self.failure = Failure("process-crashed", self.spec.ptype, exc.detail)
            return
        self._attempt = attempt = Attempt(around, port=port, became_ready=self._became_ready)
        self._started_at, self._exit_status = datetime.now(UTC), None
        self._set_phase("starting")
        try:
            failure = await attempt.run()
            if failure is not None:
                self._ends += 1
                self.failure = failure
        finally:
            self.ready, self.endpoint = False, None
            self._set_phase("terminating" if self._stop.done() else "crashed")
            await attempt.clear_away(self._grace)
            self._exit_status = attempt.child.exit_status if attempt.child is not None else None
            self._attempt = None
            self._machine.ports.give_back(port)
        if asyncio.get_running_loop().time() - began >= self._machine.config.backoff_cap.total_seconds():
            self._tries = 0

    def _became_ready(self, endpoint: Endpoint | None) -> None:
        self.ready, self._was_ready = True, True
        self.endpoint = endpoint
        self.failure, self._ends = None, 0
        self._set_phase("up")

    async def _pause(self) -> None:
        if self._stop.done() or self.retired:
            return
        self._restarts += 1
        self._tries += 1
        config = self._machine.config
        delay = backoff(self._tries, base=config.backoff_base, cap=config.backoff_cap)
        self._changed()
        await asyncio.wait({self._stop}, timeout=delay.total_seconds())

    def _set_phase(self, phase: InstancePhase) -> None:
        self._phase = phase
        self._changed()


def backoff(attempt: int, *, base: timedelta, cap: timedelta) -> timedelta:
    """Pause before the next try after `attempt` (1-based) of them: doubled each time up to `cap`, with full jitter."""
    doublings: int = 2 ** min(attempt - 1, 20)
    ceiling = min(base * doublings, cap)
    return ceiling * _RANDOM.random()


def new_name(app: str, ptype: str) -> str:
    """A name that no other instance has."""
    return f"{app}-{ptype}-{secrets.token_hex(5)}"


def exit_code(status: int | None) -> int | None:
    """An exit status as shells show it: 128 + n for signal n."""
    return 128 - status if status is not None and status < 0 else status
