"""Run the platform in this process until it is told to stop, and start it as a process of its own."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import TextIO, cast

from shared.errors import SuiteError
from shared.logging import configure_logging
from shared.process import run, settle
from standalone.errors import NotRunningError, StandaloneError, StartFailedError
from standalone.home import Config, Home
from standalone.logfile import RotatingStream

Work = Callable[[], Coroutine[None, None, None]]
READY_LINE = "ready"
_ERROR_PREFIX = "Error: "


def configure(home: Home, *, port: int | None, ssh_port: int | None, bind: str | None) -> Config:
    """Prepare the directory and take over the options, which later starts remember.

    Raises:
        AlreadyRunningError: a platform runs on it, and keeps the ports that it has.
        StandaloneError: the options make no sense.
    """
    if bind is not None and not _is_ipv4(bind):
        raise StandaloneError(
            f"--bind takes an IPv4 address of this machine, such as 127.0.0.1 or 0.0.0.0, not {bind!r}"
        )
    home.prepare()
    with home.locked():
        config = home.load()
        chosen = (config.http_port, config.ssh_port, config.bind)
        config.http_port = port or config.http_port
        config.ssh_port = ssh_port or config.ssh_port
        config.bind = bind or config.bind
        if config.http_port == config.ssh_port:
            raise StandaloneError(f"--port and --ssh-port are both {config.http_port}; they must differ")
        if chosen != (config.http_port, config.ssh_port, config.bind):
            home.save(config)
    return config


def _is_ipv4(text: str) -> bool:
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def run_platform(home: Home, config: Config, *, say: Callable[[str], None], work: Work | None = None) -> None:
    """Hold the directory, start everything, call `work` once it is healthy, stop everything at SIGINT or SIGTERM.

    Raises:
        StandaloneError: it could not start, or a part of it that cannot be restarted ended.
    """
    with home.locked(), RotatingStream(home.platform_log) as stream:
        configure_logging(service="platform", level="info", fmt="json", stream=cast("TextIO", stream))
        run(_until_stopped(home, config, say, work))


async def _until_stopped(home: Home, config: Config, say: Callable[[str], None], work: Work | None) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    living = asyncio.create_task(_live(home, config, say, work))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    living.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await living


async def _live(home: Home, config: Config, say: Callable[[str], None], work: Work | None) -> None:
    """Until cancelled, or until the platform or `work` fails."""
    from standalone.platform import Platform

    started = time.monotonic()
    async with Platform(home, config, report=lambda step, seconds: say(f"{step} ({seconds:.1f} s)")) as platform:
        settle()
        say(f"{READY_LINE} ({time.monotonic() - started:.1f} s)")
        failing = asyncio.create_task(platform.failed())
        working = asyncio.create_task(work() if work else platform.failed())
        try:
            await asyncio.wait({failing, working}, return_when=asyncio.FIRST_COMPLETED)
            if working.done():
                await working
            await failing
        finally:
            failing.cancel()
            working.cancel()


def start_detached(home: Home, *, say: Callable[[str], None]) -> None:
    """Start `workflow up` in a session of its own and return when it is healthy, passing its progress on.

    Raises:
        StartFailedError: it ended before it was healthy; the reason is its last line.
    """
    environment = os.environ | {"WORKFLOW_HOME": str(home.path)}
    command = [sys.executable, "-m", "standalone.cli", "up", "--plain"]
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        last = "it printed nothing"
        for line in process.stdout or ():
            last = line.strip() or last
            if last.startswith(READY_LINE):
                say(last)
                # From here on it lives by itself; it writes nothing more to this pipe.
                process.returncode = 0
                return
            if not last.startswith(_ERROR_PREFIX):
                say(last)
    raise StartFailedError(last.removeprefix(_ERROR_PREFIX))


def stop_running(home: Home, *, deadline_seconds: float = 20.0) -> None:
    """Ask the running platform to stop and wait until it has.

    Raises:
        NotRunningError: there is none.
        StandaloneError: it has not stopped in time.
    """
    pid = home.running_pid()
    if pid is None:
        raise NotRunningError(f"no platform runs on {home.path}")
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + deadline_seconds
    while home.running_pid() is not None:
        if time.monotonic() > deadline:
            raise StandaloneError(f"process {pid} has not stopped in {deadline_seconds:.0f} s; see {home.platform_log}")
        time.sleep(0.02)


def explain(error: SuiteError) -> str:
    """The one line that a person gets."""
    return f"Error: {error.detail}"
