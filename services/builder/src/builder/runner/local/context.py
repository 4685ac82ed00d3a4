"""What one build hands to the step that knows its language."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from builder.domain.variables import DISABLE_CACHE, is_disabled
from builder.files import remove_tree
from builder.runner.local.config import LocalRunnerConfig
from builder.runner.local.disk import DiskLimit
from builder.runner.local.process import Steps
from builder.runner.local.workspace import COMPLETE, Workspace
from builder.runner.port import BuildFailedError, BuildSpec, Plan

MAX_READ = 1024 * 1024


@dataclass(frozen=True)
class BuildContext:
    """One running build: what is asked for, where it is made and with what."""

    spec: BuildSpec
    plan: Plan
    config: LocalRunnerConfig
    workspace: Workspace
    caches: Path
    steps: Steps
    disk: DiskLimit

    async def read(self, path: str) -> bytes | None:
        """Content of a regular file of the source; None when there is none, it is a link, or larger than 1 MiB."""
        return await asyncio.to_thread(read_regular, self.workspace.source, path)

    async def read_text(self, path: str) -> str | None:
        """The same as text; what is not UTF-8 is replaced."""
        content = await self.read(path)
        return None if content is None else content.decode(errors="replace")

    def package_options(self, prefix: str) -> dict[str, str]:
        """The app's variables that tell a package manager where to get packages: part of what a cache depends on."""
        values = self.spec.config.group("global")
        return {name: value for name, value in values.items() if name.upper().startswith(prefix)}

    @property
    def fresh(self) -> dict[str, str]:
        """What makes a cache of dependencies this build's own, when none of an earlier one is wanted; else nothing."""
        value = self.spec.config.group("global").get(DISABLE_CACHE, "")
        return {"build": str(self.spec.build_id)} if self.plan.is_fresh or is_disabled(value) else {}

    async def new_cache(self, path: Path) -> None:
        """Prepare to make a keyed cache: remove what an interrupted build left, count what is written from now on."""
        await asyncio.to_thread(remove_tree, path)
        await self.disk.add(path)


def is_complete(cache: Path) -> bool:
    """Whether a keyed cache was made to its end."""
    return (cache / COMPLETE).is_file()


def cache_key(facts: Mapping[str, object]) -> str:
    """Content hash for the name of a cache: 16 hexadecimal digits."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]


def read_regular(root: Path, relative: str) -> bytes | None:
    """Read a file below `root` without following a link on the way, which might lead out of the pushed tree.

    Raises:
        BuildFailedError: the file is larger than 1 MiB.
    """
    path = root / relative
    if ".." in Path(relative).parts or path.parent.resolve() != root.resolve() / Path(relative).parent:
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        content = file.read(MAX_READ + 1)
    if len(content) > MAX_READ:
        raise BuildFailedError("build-failed", f"{relative} is larger than 1 MiB; that cannot be right")
    return content
