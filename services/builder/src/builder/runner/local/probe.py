"""Short questions to programs of this machine: which version, does it work."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path

DEADLINE_SECONDS = 10.0


def modified(program: Path) -> float | None:
    """When a program was last changed (POSIX time): a key for what is remembered of it; None when it is not there."""
    try:
        return program.stat().st_mtime
    except OSError:
        return None


async def answer_of(
    argv: Sequence[str], *, environment: Mapping[str, str], deadline_seconds: float = DEADLINE_SECONDS
) -> str | None:
    """What a program prints; None when it is not there, fails, or takes longer than the deadline."""
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd="/",
            env=dict(environment),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(deadline_seconds):
            output, _ = await process.communicate()
    except TimeoutError:
        return None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await asyncio.shield(process.wait())
    return output.decode(errors="replace").strip() if process.returncode == 0 else None
