"""What the machine offers: ports, tools, rights. A test that lacks one is skipped, or fails under REQUIRE_ALL=1."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest


def free_port(host: str = "127.0.0.1") -> int:
    """A TCP port that nobody listens on now. Bind port 0 instead where the program under test can tell its port."""
    with socket.create_server((host, 0)) as listener:
        return int(listener.getsockname()[1])


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Something of this machine that tests of several processes share is ours during the block."""
    with (Path(tempfile.gettempdir()) / f"workflow-tests-{os.getuid()}-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def unavailable(reason: str) -> NoReturn:
    """End the test: it cannot run here for `reason`."""
    if os.environ.get("REQUIRE_ALL") == "1":
        pytest.fail(f"REQUIRE_ALL is set, but {reason}")
    pytest.skip(reason)


def find_tool(name: str) -> Path | None:
    """Path of the program `name`; None when it is not installed."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"]))
    return None if found is None else Path(found)


def require_tool(name: str) -> Path:
    """Path of the program `name`; the test ends here when it is not installed."""
    found = find_tool(name)
    if found is None:
        unavailable(f"{name} is not installed")
    return found


def require_root() -> None:
    """The test ends here unless it runs as root."""
    if os.geteuid() != 0:
        unavailable("this needs root")
