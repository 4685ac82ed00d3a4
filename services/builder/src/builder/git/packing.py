"""Packs repositories that have grown loose, in the background, one at a time."""

from __future__ import annotations

import asyncio
import contextlib

from builder.git.environment import GitEnvironment
from builder.git.repository import Repositories
from builder.tasks import OneShots
from shared.logging import get_logger

log = get_logger(__name__)

PACK_SECONDS = 600.0


class Packer:
    """Runs `git gc` where it is due. git keeps unreachable objects for two weeks, so a push under way loses nothing."""

    def __init__(self, repositories: Repositories, environment: GitEnvironment) -> None:
        self._repositories = repositories
        self._environment = environment
        self._tasks = OneShots()
        self._turn = asyncio.Lock()
        self._queued: set[str] = set()

    async def consider(self, app: str) -> None:
        """Pack the app's repository soon, if it needs it."""
        if app in self._queued or not await asyncio.to_thread(self._repositories.needs_packing, app):
            return
        self._queued.add(app)
        self._tasks.spawn(self._pack(app), name=f"pack-{app}")

    async def close(self) -> None:
        """Stop; git leaves a repository whole whenever it is stopped."""
        await self._tasks.close()

    async def _pack(self, app: str) -> None:
        try:
            async with self._turn:
                await self._run(app)
        except (OSError, TimeoutError) as exc:
            log.warning("repository_not_packed", app=app, error=type(exc).__name__)
        finally:
            self._queued.discard(app)

    async def _run(self, app: str) -> None:
        process = await asyncio.create_subprocess_exec(
            *("git", "-C", str(self._repositories.path(app)), "gc", "--quiet"),
            env=self._environment.plain(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(PACK_SECONDS):
                status = await process.wait()
            log.info("repository_packed", app=app, status=status)
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
