"""The branch that a running push moves, which may have moved since git told its client where it is."""

from __future__ import annotations

import asyncio
import enum
import os
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from builder.domain.refs import RefUpdate

GIT_SECONDS = 30.0


class Standing(enum.Enum):
    """Where a branch is now, seen from a push that thinks it is at `old` and wants it at `new`."""

    AS_BEFORE = enum.auto()
    THERE = enum.auto()
    """Where the push wants it."""
    CONTAINED = enum.auto()
    """Elsewhere, but the push has that commit in its history."""
    OVERRULED = enum.auto()
    """Elsewhere, and the push has left the history that it knew on purpose (`--force`)."""
    DIVERGED = enum.auto()


class PushedBranch:
    """One branch during one push. `environment` is one in which git sees what the push has sent."""

    def __init__(self, repository: Path, update: RefUpdate, environment: Mapping[str, str]) -> None:
        self._repository = repository
        self._update = update
        self._environment = environment

    async def tip(self) -> str:
        """The commit that it is at; zeros when it does not exist."""
        return await asyncio.to_thread(self._read) or "0" * len(self._update.new)

    async def standing(self) -> Standing:
        """Where it is now.

        Raises:
            OSError, TimeoutError: git cannot be asked.
        """
        tip, update = await self.tip(), self._update
        if tip == update.old:
            return Standing.AS_BEFORE
        if tip == update.new:
            return Standing.THERE
        if not tip.strip("0") or await self._is_ancestor(tip, update.new):
            return Standing.CONTAINED
        if update.old.strip("0") and not await self._is_ancestor(update.old, update.new):
            return Standing.OVERRULED
        return Standing.DIVERGED

    async def make_way(self) -> None:
        """Set it to where git, which is about to move it, will look for it.

        git refuses to move a branch that is not where its client was told. Only for the moment before the hook lets git
        go on, and only by the one whose turn it is: nobody else moves the branch then.

        Raises:
            OSError, TimeoutError: git cannot do it.
        """
        tip, update = await self.tip(), self._update
        if tip == update.old:
            return
        target = ("-d", update.ref, tip) if not update.old.strip("0") else (update.ref, update.old, tip)
        if await self._git("update-ref", *target) != 0:
            raise OSError(f"git could not set {update.ref} back")

    async def obstacle(self) -> str | None:
        """The ref for whose sake git cannot make the branch: `a` cannot stand beside `a/b`. None when it can, or has.

        Raises:
            OSError: the repository cannot be read.
        """
        return await asyncio.to_thread(self._find_obstacle)

    def _find_obstacle(self) -> str | None:
        if self._read() is not None:
            return None
        ref = self._update.ref
        above = [str(parent) for parent in PurePosixPath(ref).parents][:-3]  # down to refs/heads/<name>
        below = (path for path in (self._repository / ref).rglob("*") if path.is_file())
        loose = [parent for parent in above if (self._repository / parent).is_file()]
        loose += [str(path.relative_to(self._repository)) for path in below]
        packed = [name for _, _, name in self._packed() if name in above or name.startswith(f"{ref}/")]
        return min((*loose, *packed), default=None)

    def _read(self) -> str | None:
        """gitrepository-layout(5): a file of its own, or a line of packed-refs."""
        ref = self._update.ref
        try:
            return (self._repository / ref).read_text().strip()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            return next((oid for oid, _, name in self._packed() if name == ref), None)

    def _packed(self) -> Iterator[tuple[str, str, str]]:
        """Id, blank and name of each line of packed-refs, which may hold names that are not UTF-8."""
        packed = self._repository / "packed-refs"
        lines = os.fsdecode(packed.read_bytes()).split("\n") if packed.is_file() else []
        return (line.partition(" ") for line in lines)

    async def _is_ancestor(self, older: str, newer: str) -> bool:
        return await self._git("merge-base", "--is-ancestor", older, newer) == 0

    async def _git(self, *arguments: str) -> int:
        process = await asyncio.create_subprocess_exec(
            *("git", *arguments),
            env=dict(self._environment),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(GIT_SECONDS):
                return await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
