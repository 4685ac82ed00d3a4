"""The bare repositories, kept between pushes: made, found, tidied and removed. All calls block: use threads."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from builder.domain.refs import DEPLOY_BRANCHES, HEADS
from builder.files import remove_tree
from shared.logging import get_logger

# gitrepository-layout(5): all that git needs to recognise a bare repository; written here, it costs no process.
_CONFIG = "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = true\n"
# git's own thresholds (gc.auto, gc.autoPackLimit), halved: this looks once per push and must not lag behind.
_MANY_LOOSE_IN_ONE_DIRECTORY = 13
_MANY_PACKS = 25
# gitrepository-layout(5): what was received and not accepted, packs that were being made, locks.
_LEFT_BY_GIT = (
    *("objects/tmp_objdir-*", "objects/incoming-*", "objects/pack/tmp_*", "objects/pack/.tmp-*"),
    *("*.lock", "refs/**/*.lock", "objects/info/**/*.lock", "packed-refs.new", "HEAD.new"),
)
# git that outlives its builder has lost its client and its hook: it tidies up and ends, at once.
_ORPHAN_SECONDS = 3.0
_ORPHAN_PAUSE_SECONDS = 0.05
log = get_logger(__name__)


class Repositories:
    """Bare repositories below one directory, `<app>.git` each."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, app: str) -> Path:
        return self._root / f"{app}.git"

    def apps(self) -> list[str]:
        """The apps that have a repository."""
        return [path.name.removesuffix(".git") for path in self._root.glob("[!.]*.git")]

    def ensure(self, app: str) -> Path:
        """The app's repository, made when it is missing. A crash half way leaves nothing at the final path."""
        path = self.path(app)
        if path.is_dir():
            return path
        self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = Path(tempfile.mkdtemp(prefix=f".{app}-", dir=self._root))
        try:
            for directory in ("objects/info", "objects/pack", "refs/heads", "refs/tags"):
                (fresh / directory).mkdir(parents=True)
            (fresh / "config").write_text(_CONFIG)
            (fresh / "HEAD").write_text(f"ref: {HEADS}{DEPLOY_BRANCHES[0]}\n")
            fresh.rename(path)
        except OSError:
            shutil.rmtree(fresh, ignore_errors=True)
            if not path.is_dir():  # somebody else may have been faster
                raise
        return path

    def adopt_head(self, app: str, branches: Sequence[str] = DEPLOY_BRANCHES) -> None:
        """Let HEAD name the first of the deploy branches that exists, so that a clone checks something out."""
        path = self.path(app)
        if not path.is_dir():  # the app was deleted meanwhile
            return
        present = [branch for branch in branches if self._has_branch(path, branch)]
        wanted = f"ref: {HEADS}{present[0]}\n" if present else None
        if wanted and (path / "HEAD").read_text() != wanted:
            fresh = path / "HEAD.new"
            fresh.write_text(wanted)
            fresh.rename(path / "HEAD")

    def remove(self, app: str) -> None:
        """Remove the repository for good.

        Renamed first: nothing half removed is ever in use, and a push that runs meanwhile fails instead of going on.
        What it still writes while we remove is swept at the next start.
        """
        path = self.path(app)
        if path.exists():
            gone = Path(tempfile.mkdtemp(prefix=f".{app}-gone-", dir=self._root))
            path.rename(gone / path.name)
            _remove(gone)

    def sweep(self) -> None:
        """Remove what a crash left behind of `ensure` and `remove`, and of git, which would refuse to move a locked
        branch for ever.

        Only before anything is served: git of an earlier process is waited for, for a moment.
        """
        for path in self._root.glob(".*"):
            _remove(path)
        left = [path for pattern in _LEFT_BY_GIT for path in self._root.glob(f"*.git/{pattern}")]
        give_up = time.monotonic() + _ORPHAN_SECONDS
        while (left := [path for path in left if path.exists()]) and time.monotonic() < give_up:
            time.sleep(_ORPHAN_PAUSE_SECONDS)
        for path in left:
            log.info("left_by_git_removed", path=str(path.relative_to(self._root)))
            _remove(path)

    def needs_packing(self, app: str) -> bool:
        """Whether loose objects or packs have piled up. One directory of 256 stands for all, as in git itself."""
        objects = self.path(app) / "objects"
        loose = sum(1 for _ in (objects / "17").glob("*")) if (objects / "17").is_dir() else 0
        return loose > _MANY_LOOSE_IN_ONE_DIRECTORY or sum(1 for _ in objects.glob("pack/*.pack")) > _MANY_PACKS

    @staticmethod
    def _has_branch(path: Path, branch: str) -> bool:
        if (path / HEADS / branch).is_file():
            return True
        packed = path / "packed-refs"
        # Bytes: other names there need not be UTF-8.
        return packed.is_file() and f" {HEADS}{branch}\n".encode() in packed.read_bytes()


def _remove(path: Path) -> None:
    """What cannot be removed now is tried again at the next start."""
    with contextlib.suppress(OSError):
        remove_tree(path)
