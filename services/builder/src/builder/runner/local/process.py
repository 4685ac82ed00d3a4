"""Processes of a build: started in a session of their own, read line by line, ended with all that they started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from uuid import UUID

import psutil

from builder.runner.local.environment import BUILD_MARK
from builder.runner.output import HEADING, StepOutput
from builder.runner.port import BuildFailedError, Log

GRACE_SECONDS = 3.0
DRAIN_SECONDS = 1.0
_CHUNK = 64 * 1024
_DISK_FULL_SIGNS = ("No space left on device", "ENOSPC", "Disk quota exceeded")


class Steps:
    """Runs the commands of one build, one after another, and reports them.

    `environment` is complete: nothing is inherited from the platform. Cancelling a step kills its process group.
    """

    def __init__(self, *, log: Log, build_id: UUID, environment: Mapping[str, str], marks: Mapping[str, str]) -> None:
        self._log = log
        self._build_id = build_id
        self._environment = dict(environment)
        self._marks = dict(marks)

    async def heading(self, text: str) -> None:
        """Tell the pusher what begins now, or what was found."""
        await self._log.write(f"{HEADING}{text}\n")

    async def run(
        self,
        title: str,
        argv: Sequence[str | Path],
        *,
        cwd: Path,
        extra: Mapping[str, str] | None = None,
        environment: Mapping[str, str] | None = None,
        hint: str = "",
    ) -> None:
        """Run one command to its end, its output streamed. `environment` replaces the build's, `extra` adds to it.

        Raises:
            BuildFailedError: build-failed with title, exit status and last lines; disk-full when the output says so.
        """
        env = dict(self._environment if environment is None else environment) | dict(extra or {}) | self._marks
        output = StepOutput(self._log)
        async with _started(argv, cwd=cwd, env=env, title=title) as (process, stream):
            reader = asyncio.create_task(_copy(stream, output), name=f"build output of {title}")
            try:
                status = await process.wait()
                await self._drain(process, reader)
            finally:
                await _cancelled(reader)
        if status != 0:
            raise _failure(title, status, output.tail, hint)

    async def _drain(self, process: asyncio.subprocess.Process, reader: asyncio.Task[None]) -> None:
        """Read on to the end of the output, which a process left in the background would hold open for ever."""
        _signal_group(process.pid, signal.SIGKILL)
        done, _ = await asyncio.wait({reader}, timeout=DRAIN_SECONDS)
        if not done:
            await end_marked(self._build_id)
            await asyncio.wait({reader}, timeout=DRAIN_SECONDS)


async def end_marked(build_id: UUID) -> None:
    """Kill every process that carries this build's mark, those that left their process group included."""
    await asyncio.to_thread(_end_marked, str(build_id))


def _end_marked(mark: str) -> None:
    for process in psutil.process_iter():
        # Processes of other users cannot be read and are not ours; others end while we look.
        with contextlib.suppress(psutil.Error, OSError):
            if process.environ().get(BUILD_MARK) == mark:
                process.kill()


@contextlib.asynccontextmanager
async def _started(
    argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str], title: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """Start a process whose output comes through a pipe of ours; at exit its process group is gone.

    The pipe is ours and not the subprocess transport's, so that waiting for the process does not depend on the pipe.
    """
    reading, writing = os.pipe()
    pipe = os.fdopen(reading, "rb", buffering=0)
    try:
        process = await asyncio.create_subprocess_exec(
            *(str(part) for part in argv),
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            start_new_session=True,
        )
    except OSError as exc:
        pipe.close()
        raise BuildFailedError("build-failed", f"{title} could not be started: {argv[0]}: {exc.strerror}") from exc
    except BaseException:
        pipe.close()
        raise
    finally:
        os.close(writing)
    try:
        stream = asyncio.StreamReader(limit=_CHUNK)
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(stream), pipe
        )
        try:
            yield process, stream
        finally:
            transport.close()
    finally:
        await asyncio.shield(_end(process))


async def _copy(stream: asyncio.StreamReader, output: StepOutput) -> None:
    while data := await stream.read(_CHUNK):
        await output.feed(data)
    await output.feed(b"", final=True)


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        _signal_group(process.pid, signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), GRACE_SECONDS)
    _signal_group(process.pid, signal.SIGKILL)
    if process.returncode is None:
        await process.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled() and (error := task.exception()) is not None:
        raise error


def _failure(title: str, status: int, tail: tuple[str, ...], hint: str) -> BuildFailedError:
    if any(sign in line for line in tail for sign in _DISK_FULL_SIGNS):
        return disk_full(f"{title} ran out of disk space", tail)
    if status < 0:
        how = f"was ended by signal {-status} ({signal.strsignal(-status)})"
        hint = "the machine may be short of memory; try again" if -status == signal.SIGKILL else hint
    else:
        how = f"exited with status {status}"
    return BuildFailedError("build-failed", f"{title} failed: it {how}", log=tail, hint=hint)


def disk_full(message: str, tail: tuple[str, ...] = ()) -> BuildFailedError:
    """The failure of a machine without free space."""
    return BuildFailedError(
        "disk-full",
        message,
        log=tail,
        hint="free space on the machine that runs Workflow (destroy apps that are not needed), then push again",
    )
