"""What the local runner is told at start: directories, programs, and the environment that builds take parts of."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


def base_python() -> Path:
    """The interpreter below the platform's own virtual environment: app environments are made from it."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    return Path(sys.base_prefix, "bin", version)


def packaged_caddy() -> Path | None:
    """Caddy as the wheel installs it beside the platform's programs, else one from the PATH."""
    packaged = Path(sysconfig.get_path("scripts"), "caddy")
    if packaged.exists():
        return packaged
    found = shutil.which("caddy")
    return Path(found) if found else None


@dataclass(frozen=True)
class LocalRunnerConfig:
    """Settings of one runner. Paths are absolute; `workspaces` and `caches` are on one file system each.

    `process_mark` is put as WORKFLOW_HOME_ID into every process, so that a keeper finds what a crash left behind.
    `host_environment` is what the platform was started with: builds get the few allowed names of it.
    `builds_kept` counts the newest workspaces of an app that discard() spares.
    """

    workspaces: Path
    caches: Path
    process_mark: str | None = None
    builds_kept: int = 5
    python: Path = field(default_factory=base_python)
    caddy: Path | None = field(default_factory=packaged_caddy)
    host_environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ), repr=False)
    disk_check_seconds: float = 1.0
