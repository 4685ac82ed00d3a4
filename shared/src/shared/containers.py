"""Which container tool of this machine to use: the first of docker, podman and buildah that can build and run.

Whoever builds images and whoever runs them choose by this one rule, so that what was built can be run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

TOOLS = ("docker", "podman", "buildah")
CHROOT = ("--isolation", "chroot")
"""How buildah is told to start processes, for builds too: it needs no container runtime and no control groups."""

_INFO_SECONDS = 10.0
_STEP_SECONDS = 20.0
_REMEMBERED_SECONDS = 30.0
_KILLED_SECONDS = 2.0
_NO_PROGRAM = "/none"
_NOT_FOUND = 127
_TIMED_OUT = 124
_EMPTY_TAR = bytes(1024)


@dataclass(frozen=True)
class Answer:
    """What a program answered: its exit status (127 not there, 124 too slow) and its two outputs."""

    status: int
    output: str
    errors: str

    @property
    def reason(self) -> str:
        """The last line of what it had to complain about, in one line."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return lines[-1].removeprefix("Error: ") if lines else f"exit status {self.status}"


class ToolFinder:
    """Finds the tools that work and remembers the answer for half a minute.

    A tool works when it answers `info` (for docker: its daemon does), and when podman or buildah can start a process
    in a container, which a restricted machine may deny them although they build. That second check starts a program
    that does not exist in an empty image, needs no download, and is made until it has succeeded once.
    """

    def __init__(self, environment: Callable[[], Mapping[str, str]]) -> None:
        self._environment = environment
        self._known: dict[str, tuple[bool, float]] = {}
        self._has_run: set[str] = set()
        self._lock = asyncio.Lock()

    async def find(self) -> tuple[str, str] | None:
        """Name and path of the first tool that works; None when there is none."""
        for name in TOOLS:
            if path := await self.path_of(name):
                return name, path
        return None

    async def path_of(self, name: str) -> str | None:
        """Where that tool is; None when it is not installed or does not work."""
        environment = self._environment()
        path = await asyncio.to_thread(shutil.which, name, path=environment.get("PATH"))
        if name not in TOOLS or path is None:
            return None
        async with self._lock:
            does, looked_at = self._known.get(path, (False, float("-inf")))
            if time.monotonic() - looked_at > _REMEMBERED_SECONDS:
                does = await self._works(name, path, environment)
                self._known[path] = (does, time.monotonic())
        return path if does else None

    async def _works(self, name: str, path: str, environment: Mapping[str, str]) -> bool:
        info = await ask((path, "info"), environment=environment, deadline_seconds=_INFO_SECONDS)
        if info.status != 0:
            return False
        if name != "docker" and path not in self._has_run:
            check = _podman_runs if name == "podman" else _buildah_runs
            if not await check(path, environment):
                return False
            self._has_run.add(path)
        return True


async def _podman_runs(path: str, environment: Mapping[str, str]) -> bool:
    """Podman tells "not found" (127) from "could not be invoked" (126) and "podman failed" (125): podman-run(1)."""
    image = f"localhost/workflow/check:{secrets.token_hex(6)}"
    made = await ask((path, "import", "-", image), environment=environment, stdin=_EMPTY_TAR)
    if made.status != 0:
        return False
    try:
        run = await ask((path, "run", "--rm", "--network", "host", image, _NO_PROGRAM), environment=environment)
        return run.status == _NOT_FOUND
    finally:
        await ask((path, "rmi", "--force", image), environment=environment)


async def _buildah_runs(path: str, environment: Mapping[str, str]) -> bool:
    """Buildah has one exit status for every failure, so its words must tell."""
    container = f"workflow-check-{secrets.token_hex(6)}"
    made = await ask((path, "from", "--name", container, "scratch"), environment=environment)
    if made.status != 0:
        return False
    try:
        command = (path, "run", *CHROOT, "--network", "host", container, "--", _NO_PROGRAM)
        run = await ask(command, environment=environment)
        return f"{_NO_PROGRAM}: no such file or directory" in run.errors
    finally:
        await ask((path, "rm", container), environment=environment)


async def ask(
    command: Sequence[str],
    *,
    environment: Mapping[str, str],
    deadline_seconds: float = _STEP_SECONDS,
    stdin: bytes = b"",
) -> Answer:
    """Run a program to its end; nothing of it is left when this returns. Never raises for what it does."""
    pipe = asyncio.subprocess.PIPE
    try:
        process = await asyncio.create_subprocess_exec(
            *command, env=dict(environment), stdin=pipe, stdout=pipe, stderr=pipe, start_new_session=True
        )
    except OSError as exc:
        return Answer(_NOT_FOUND, "", exc.strerror or str(exc))
    try:
        async with asyncio.timeout(deadline_seconds):
            output, errors = await process.communicate(stdin)
    except TimeoutError:
        return Answer(_TIMED_OUT, "", f"no answer within {deadline_seconds:g} s")
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(process.wait()), _KILLED_SECONDS)
    return Answer(process.returncode or 0, output.decode(errors="replace"), errors.decode(errors="replace"))
