"""Removal of whole trees, whatever those who filled them have made of them."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import subprocess
from pathlib import Path

# A tree may be deeper than Python may recurse, or than this process may have directories open.
_TOO_DEEP = (errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG)


def remove_tree(path: Path) -> None:
    """Remove a file or a tree, also one with directories that a build made read-only. Absent is fine.

    Blocks on the disk.

    Raises:
        OSError: something of it cannot be removed.
    """
    with contextlib.suppress(FileNotFoundError):
        if path.is_symlink() or path.is_file():
            path.unlink()
            return
        try:
            _remove_directory(path)
        except RecursionError:
            _remove_deep(path)
        except OSError as exc:
            if exc.errno not in _TOO_DEEP:
                raise
            _remove_deep(path)


def _remove_directory(path: Path) -> None:
    try:
        shutil.rmtree(path)
    except PermissionError:
        _make_writable(path)
        shutil.rmtree(path)


def _make_writable(path: Path) -> None:
    path.chmod(path.stat().st_mode | stat.S_IRWXU)
    for parent, names, _ in os.walk(path):
        for directory in (Path(parent, name) for name in names):
            if not directory.is_symlink():
                directory.chmod(directory.stat().st_mode | stat.S_IRWXU)


def _remove_deep(path: Path) -> None:
    # The programs of the system know no such limits: they go down step by step and back up again.
    subprocess.run(["chmod", "-R", "u+rwx", path], check=False, capture_output=True)
    done = subprocess.run(["rm", "-rf", path], check=False, capture_output=True, text=True, errors="replace")
    if done.returncode != 0:
        raise OSError(errno.EIO, f"rm: {done.stderr[:200].strip()}", str(path))
