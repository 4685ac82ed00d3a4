"""Workspaces and caches on disk: `<workspaces>/<app>/<build id>/` as the engine starts it, `<caches>/<app>/`.

A workspace appears by one rename when it is complete. A cache is complete when it holds its marker file.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from builder.files import remove_tree
from builder.runner.local.disk import explained
from shared.errors import InvalidInputError
from shared.logging import get_logger

log = get_logger(__name__)

LAUNCH_FILE = "launch.json"
SOURCE = "source"
COMPLETE = ".complete"
_PARTIAL = ".partial-"
_APP = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
# Longest first: `<build id>-<ptype>` belongs to `<build id>`.
_BUILD_DIR = re.compile(r"(?P<id>[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})(-[a-z0-9-]+)?")
_KEYED_CACHE = re.compile(r"[a-z]+-[0-9a-f]{16,64}")


@dataclass(frozen=True)
class Launch:
    """How the engine starts processes of a workspace (launch.json, version 1). Paths are absolute."""

    stack: str
    path: tuple[Path, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    image: str | None = None
    tool: str | None = None

    def to_json(self) -> str:
        """The file's text; `image` and `tool` are left out where they do not apply."""
        content: dict[str, object] = {
            "version": 1,
            "stack": self.stack,
            "workdir": SOURCE,
            "path": [str(part) for part in self.path],
            "env": self.env,
        }
        content |= {name: value for name in ("image", "tool") if (value := getattr(self, name)) is not None}
        return json.dumps(content, indent=1) + "\n"


@dataclass(frozen=True)
class Workspace:
    """One build's directory while it is being made (`partial`) and where it will be (`final`)."""

    partial: Path
    final: Path

    @property
    def source(self) -> Path:
        """The pushed tree, while it is being built."""
        return self.partial / SOURCE

    @property
    def final_source(self) -> Path:
        """The pushed tree, as the engine will see it: to be used in whatever outlives the build."""
        return self.final / SOURCE

    def scratch(self, name: str) -> Path:
        """A directory that exists during the build only."""
        return self.partial / f".{name}"

    def complete(self, launch: Launch) -> None:
        """Write launch.json and put the workspace where the engine looks for it."""
        for name in SCRATCH:
            remove_tree(self.scratch(name))
        (self.partial / LAUNCH_FILE).write_text(launch.to_json())
        remove_tree(self.final)
        self.partial.rename(self.final)


SCRATCH = ("home", "tmp")


class Store:
    """All workspaces and caches of this machine. Every method blocks on the disk."""

    def __init__(self, workspaces: Path, caches: Path) -> None:
        self._workspaces = workspaces
        self._caches = caches

    def begin(self, app: str, build_id: UUID) -> Workspace:
        """Make the directories of a new build.

        Raises:
            BuildFailedError: disk-full.
        """
        parent = self._workspaces / _checked(app)
        workspace = Workspace(partial=parent / f"{_PARTIAL}{build_id}", final=parent / str(build_id))
        with explained("the workspace could not be made"):
            remove_tree(workspace.partial)
            for path in (workspace.source, *(workspace.scratch(name) for name in SCRATCH)):
                path.mkdir(parents=True, mode=0o700)
            self.caches(app).mkdir(parents=True, exist_ok=True, mode=0o700)
        return workspace

    def caches(self, app: str) -> Path:
        """Directory of an app's caches; it may not exist yet."""
        return self._caches / _checked(app)

    def remove_stale(self) -> None:
        """Remove what a crash left: unfinished workspaces and caches."""
        stale = list(self._workspaces.glob(f"*/{_PARTIAL}*"))
        stale += [
            path
            for path in self._caches.glob("*/*")
            if _KEYED_CACHE.fullmatch(path.name) and not (path / COMPLETE).exists()
        ]
        for path in stale:
            try:
                remove_tree(path)
            except OSError as exc:  # one app's leftovers must not keep the others from being built
                log.warning("stale_tree_left", path=str(path), reason=exc.strerror)

    def remove_app(self, app: str) -> list[Launch]:
        """Remove all of an app; returns how its workspaces were launched, for what lives outside (images)."""
        removed = [_launch_of(path) for path in self._builds(app)]
        remove_tree(self._workspaces / _checked(app))
        remove_tree(self.caches(app))
        return [launch for launch in removed if launch is not None]

    def retain(self, app: str, keep: set[UUID], newest: int) -> list[Launch]:
        """Keep the workspaces in `keep` and the `newest` last ones with the caches that they use; remove the others."""
        builds = self._builds(app)
        by_age = sorted({_build_id(path) for path in builds}, key=lambda id_: self._made(app, id_), reverse=True)
        kept = {str(build_id) for build_id in keep} | set(by_age[:newest])
        removed: list[Launch] = []
        launches = ""
        for path in builds:
            launch_file = path / LAUNCH_FILE
            if _build_id(path) in kept:
                launches += launch_file.read_text() if launch_file.exists() else ""
                continue
            launch = _launch_of(path)
            remove_tree(path)
            removed += [launch] if launch else []
        for cache in self.caches(app).glob("*"):
            if _KEYED_CACHE.fullmatch(cache.name) and cache.name not in launches:
                remove_tree(cache)
        return removed

    def _builds(self, app: str) -> list[Path]:
        return [path for path in (self._workspaces / _checked(app)).glob("*") if _BUILD_DIR.fullmatch(path.name)]

    def _made(self, app: str, build_id: str) -> float:
        launch = self._workspaces / app / build_id / LAUNCH_FILE
        return launch.stat().st_mtime if launch.exists() else 0.0


def _checked(app: str) -> str:
    if _APP.fullmatch(app) is None:
        raise InvalidInputError(f"{app!r} is not an app's name")
    return app


def _build_id(path: Path) -> str:
    return path.name[:36]


def _launch_of(path: Path) -> Launch | None:
    try:
        content = json.loads((path / LAUNCH_FILE).read_text())
    except (OSError, ValueError):
        return None
    return Launch(stack=str(content.get("stack")), image=content.get("image"), tool=content.get("tool"))
