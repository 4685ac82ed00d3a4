"""The keeper: a small process that cleans up when the platform dies without doing so.

It holds one end of a pipe to the platform. A byte means that the platform has stopped in order; an end of file
without one means that it was killed, and then everything with its mark is ended: app processes, Caddy, PostgreSQL.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from types import TracebackType

import psutil

from standalone.processes import end_marked

_DONE = b"."


class Keeper:
    """The platform's handle on its keeper process."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Keeper:
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-m", "standalone.keeper", self._mark],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        process = self._process
        if process is None or process.stdin is None:
            return
        try:
            process.stdin.write(_DONE)
            process.stdin.close()
        except BrokenPipeError:
            return
        process.wait(timeout=5)

    @property
    def pid(self) -> int | None:
        """Process id of the keeper."""
        return self._process.pid if self._process else None


def keeper_pids(mark: str) -> list[int]:
    """Process ids of the keepers of this platform."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        line = process.info["cmdline"] or []
        if "standalone.keeper" in line and line[-1] == mark:
            found.append(process.pid)
    return found


def main() -> None:
    """Wait for the platform's end; clean up if it was not in order."""
    # A Ctrl-C or a `kill` meant for the platform must not take its keeper along.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if sys.stdin.buffer.read(1) != _DONE:
        end_marked(sys.argv[1])


if __name__ == "__main__":
    main()
