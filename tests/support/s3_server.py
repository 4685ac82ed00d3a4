"""An S3 server for tests: versitygw on the loopback, built once from its published Go module.

`PYTHONPATH=tests python -m support.s3_server` builds it beforehand.
"""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from support.certificates import MadePair
from support.tools import free_port, locked, require_tool

MODULE: Final = Path(__file__).parent / "versitygw"
PACKAGE: Final = "github.com/versity/versitygw/cmd/versitygw"
ACCESS_KEY: Final = "builder-tests"
SECRET_KEY: Final = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYEXAMPLEKEY"
BUILD_SECONDS: Final = 1200
_START_SECONDS: Final = 30.0
_STOP_SECONDS: Final = 10.0


def versitygw() -> Path:
    """Path of the program; built unless the same versions were built before, two minutes on two idle cores.

    The test ends here when Go is not installed.
    """
    go = require_tool("go")
    digest = hashlib.sha256((MODULE / "go.mod").read_bytes() + (MODULE / "go.sum").read_bytes()).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "workflow-tests"
    program = cache / f"versitygw-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with locked(program.name):
        if not program.exists():
            partial = program.with_suffix(".partial")
            command = (go, "build", "-C", MODULE, "-trimpath", "-ldflags=-s -w", "-o", partial, PACKAGE)
            done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_SECONDS, check=False)
            assert done.returncode == 0, f"go build {PACKAGE}: {done.stderr[-2000:]}"
            partial.rename(program)
    return program


class S3Server:
    """One server with a directory of its own; it keeps port and content when it is started again."""

    def __init__(self, program: Path, directory: Path, *, pair: MadePair | None = None) -> None:
        self._program = program
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self._tls: tuple[str, ...] = ()
        self.port = free_port()
        self.endpoint = f"{'http' if pair is None else 'https'}://127.0.0.1:{self.port}"
        for name in ("buckets", "metadata"):
            (directory / name).mkdir(parents=True)
        if pair is not None:
            certificate, key = directory / "tls.crt", directory / "tls.key"
            certificate.write_text(pair.certificate)
            key.write_text(pair.key)
            self._tls = ("--cert", str(certificate), "--key", str(key))

    def make_bucket(self, name: str) -> None:
        """A bucket of the one account that there is."""
        (self._directory / "buckets" / name).mkdir()

    def objects(self, bucket: str) -> list[str]:
        """Keys of the objects in a bucket, as its file system has them."""
        root = self._directory / "buckets" / bucket
        found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
        return sorted(str(path) for path in found if not path.parts[0].startswith("."))

    def lose(self, bucket: str) -> None:
        """Remove its objects behind the back of whoever has put them there."""
        root = self._directory / "buckets" / bucket
        for key in self.objects(bucket):
            (root / key).unlink()

    def unfinished(self, bucket: str) -> list[Path]:
        """Parts of uploads that were neither completed nor given up."""
        parts = (self._directory / "buckets" / bucket / ".sgwtmp").rglob("*")
        return [path for path in parts if path.is_file()]

    def start(self) -> None:
        """Returns when it takes connections."""
        environment = {"PATH": os.defpath, "ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY}
        options = ("--port", f"127.0.0.1:{self.port}", "--quiet", *self._tls)
        storage = ("posix", "--sidecar", str(self._directory / "metadata"), str(self._directory / "buckets"))
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                (self._program, *options, *storage), stdout=log, stderr=log, env=environment
            )
        deadline = time.monotonic() + _START_SECONDS
        while not self._takes_connections():
            is_starting = self._process.poll() is None and time.monotonic() < deadline
            assert is_starting, f"versitygw: {(self._directory / 'log').read_text(errors='replace')[-2000:]}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End at once, as a machine does that loses its power."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End."""
        self._end(signal.SIGTERM)

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _takes_connections(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


@contextmanager
def running_s3(directory: Path, *buckets: str, pair: MadePair | None = None) -> Iterator[S3Server]:
    """A server with these buckets; ended with the block."""
    server = S3Server(versitygw(), directory, pair=pair)
    for bucket in buckets:
        server.make_bucket(bucket)
    server.start()
    try:
        yield server
    finally:
        server.stop()


if __name__ == "__main__":
    versitygw()
