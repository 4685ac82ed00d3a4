"""One-off commands: run once, with a time limit, remembered beside their log."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from pathlib import Path
from typing import Any, get_args

from controller.domain.spec import InstanceState, JobPhase, JobSpec, JobState
from controller.engine.local import diagnose
from controller.engine.local.child import Child, start_child
from controller.engine.local.instance import exit_code
from controller.engine.local.launch import Launch, LaunchError, prepare
from controller.engine.local.logs import LogWriter
from controller.engine.local.machine import Machine
from controller.engine.local.tasks import cancel
from shared.errors import UnavailableError
from shared.logging import get_logger

log = get_logger(__name__)

RUN = "run"
CUT_OFF = "ended when the platform stopped"
_PHASES = frozenset(get_args(JobPhase))


class _End(Enum):
    """How it came to its end: of its own accord, by order, or because its time was up."""

    OWN = auto()
    STOPPED = auto()
    LATE = auto()


class Job:
    """One run of a one-off."""

    def __init__(self, machine: Machine, spec: JobSpec, *, changed: Callable[[], None]) -> None:
        self._machine = machine
        self._changed = changed
        self._stop: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._grace = spec.process.grace_period
        self._child: Child | None = None
        self._launch: Launch | None = None
        self._started_at: datetime | None = None
        self._why_stopped: tuple[str, str] | None = None
        self.spec = spec
        self.state = JobState(spec.name, "starting")

    @property
    def instance_state(self) -> InstanceState:
        """The job as an instance of type `run`."""
        return InstanceState(
            name=self.spec.name,
            ptype=RUN,
            release=self.spec.process.release,
            state=self.state.state,
            started_at=self._started_at,
            ready=False,
            restarts=0,
            exit_code=self.state.exit_code,
            fingerprint=self.spec.process.fingerprint,
        )

    @property
    def running(self) -> tuple[Launch, Child] | None:
        """The process and how it was started."""
        return (self._launch, self._child) if self._launch and self._child else None

    def stop(self) -> None:
        """End it before its time, as somebody asked for."""
        self._end_early("stopped", "stopped before its end")

    def halt(self, grace: timedelta) -> None:
        """End it because the platform ends."""
        self._grace = min(self._grace, grace)
        self._end_early("platform-stopped", CUT_OFF)

    def _end_early(self, reason: str, text: str) -> None:
        if not self._stop.done():
            self._why_stopped = (reason, text)
            self._stop.set_result(None)

    async def run(self) -> None:
        """From start to end; the outcome is in `state`. Nothing of it is left when this returns."""
        writer = await self._machine.logs.app(self.spec.app).writer(self.spec.name)
        try:
            await self._record(JobState(self.spec.name, "starting"))
            await self._record(await self._run_on_port(writer))
        finally:
            await writer.close()
            self._changed()

    async def _run_on_port(self, writer: LogWriter) -> JobState:
        try:
            port = self._machine.ports.lend()
        except UnavailableError as exc:
            return self._failed(None, "process-crashed", (exc.detail,))
        try:
            return await self._run(port, writer)
        finally:
            self._machine.ports.give_back(port)

    async def _run(self, port: int, writer: LogWriter) -> JobState:
        process = self.spec.process
        try:
            self._launch = await asyncio.to_thread(
                prepare, self._machine.config, process, instance=self.spec.name, port=port
            )
            self._child = child = await start_child(
                self._machine,
                self._launch,
                instance=self.spec.name,
                writer=writer,
                memory_bytes=process.memory_bytes,
            )
        except LaunchError as exc:
            return self._failed(None, exc.code, (*writer.last_lines, exc.message))
        self._started_at = datetime.now(UTC)
        await self._record(JobState(self.spec.name, "up"))
        end = await self._wait(child)
        await child.stop(self._grace)
        self._child = None
        return self._outcome(child, writer.last_lines, end)

    async def _wait(self, child: Child) -> _End:
        """Until it ends, is to end, or its time is up."""
        ended = asyncio.create_task(child.wait(), name=f"wait {self.spec.name}")
        try:
            waiting: set[asyncio.Future[Any]] = {ended, self._stop}
            done, _ = await asyncio.wait(
                waiting,
                timeout=self.spec.timeout.total_seconds(),
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            await cancel(ended)
        if not done:
            return _End.LATE
        return _End.OWN if ended in done else _End.STOPPED

    def _outcome(self, child: Child, lines: tuple[str, ...], end: _End) -> JobState:
        code = exit_code(child.exit_status)
        if end is _End.STOPPED and self._why_stopped is not None:
            reason, text = self._why_stopped
            return self._failed(code, reason, (*lines, text))
        if end is _End.LATE:
            seconds = f"{self.spec.timeout.total_seconds():g} s"
            return self._failed(code, "deadline-exceeded", (*lines, f"killed: it ran longer than {seconds}"))
        if code == 0:
            return JobState(self.spec.name, "down", 0, None, lines)
        facts = diagnose.Facts(
            ptype=self.spec.process.ptype,
            command="",
            port=0,
            log=lines,
            ran_out_of_memory=child.limit.ran_out(lines),
        )
        return self._failed(code, diagnose.of_exit(facts, child.exit_status or 0).code, lines)

    def _failed(self, code: int | None, reason: str, lines: tuple[str, ...]) -> JobState:
        return JobState(self.spec.name, "crashed", code, reason, lines)

    async def _record(self, state: JobState) -> None:
        ended_at = datetime.now(UTC) if state.finished else None
        state = replace(state, started_at=self._started_at, ended_at=ended_at)
        # Kept before it is told, so that nobody has heard of an outcome that a restart forgets.
        path = record_path(self._machine.config.logs, self.spec.app, self.spec.name)
        await asyncio.to_thread(_write_record, path, state)
        self.state = state
        self._changed()


def record_path(logs: Path, app: str, name: str) -> Path:
    """Where the outcome of a job is kept."""
    return logs / app / f"{name}.json"


def read_record(path: Path) -> JobState | None:
    """What is known of a job of an earlier run of the platform; one that never ended was ended with it."""
    try:
        facts = json.loads(path.read_text())
        if facts["state"] not in _PHASES:
            return None
        state = JobState(
            facts["name"],
            facts["state"],
            facts["exit_code"],
            facts["reason"],
            tuple(facts["log"]),
            _moment(facts.get("started_at")),
            _moment(facts.get("ended_at")),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if state.finished:
        return state
    return JobState(state.name, "crashed", None, "platform-stopped", (CUT_OFF,), state.started_at)


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _write_record(path: Path, state: JobState) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(".tmp")
        fresh.write_text(json.dumps(asdict(state), default=datetime.isoformat))
        fresh.replace(path)
    except OSError as exc:
        log.warning("job_record_failed", path=str(path), reason=str(exc))
