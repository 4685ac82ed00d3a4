"""Short commands beside a running instance: probes of kind exec."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence

from controller.engine.local.census import send_group
from controller.engine.local.child import Child
from controller.engine.local.containers import tool_environment
from controller.engine.local.launch import Launch

_MISSING = 127
_TIMED_OUT = 124


async def run_beside(launch: Launch, child: Child, instance: str, command: Sequence[str], seconds: float) -> int:
    """Run a command in the instance's directory and environment; gives its exit code, 124 when it took too long."""
    argv, env = tuple(command), launch.env
    if child.tool is not None:
        argv, env = child.tool.exec_command(instance, command, tty=False, stdin=False), tool_environment(launch)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            env=dict(env),
            cwd=launch.cwd,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return _MISSING
    try:
        async with asyncio.timeout(seconds):
            return await process.wait()
    except TimeoutError:
        return _TIMED_OUT
    finally:
        if process.returncode is None:
            send_group(process.pid, signal.SIGKILL)
            await process.wait()
