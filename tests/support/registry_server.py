"""A registry of images for tests: Debian's `docker-registry`, with files below a directory of the test."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from support.tools import require_tool

_START_SECONDS: Final = 30.0


@contextmanager
def registry_server(
    directory: Path,
    *,
    port: int,
    host: str = "127.0.0.1",
    auth: Mapping[str, Any] | None = None,
    deletes: bool = True,
) -> Iterator[str]:
    """`host:port` of a registry that speaks plain HTTP there until the end of the block.

    `auth` is the section of that name of its configuration; without it everybody may do everything. What was pushed
    stays in `directory`, for the next one that is started with it.
    """
    program = require_tool("docker-registry")
    directory.mkdir(parents=True, exist_ok=True)
    config = directory / "config.yml"
    config.write_text(json.dumps(_config(directory, f"{host}:{port}", auth, deletes)))  # JSON is YAML
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen([program, "serve", config], stdout=log, stderr=log)
    try:
        _wait(process, f"{host}:{port}", directory / "log")
        yield f"{host}:{port}"
    finally:
        process.terminate()
        process.wait()


def _config(directory: Path, address: str, auth: Mapping[str, Any] | None, deletes: bool) -> dict[str, Any]:
    storage = {"filesystem": {"rootdirectory": str(directory / "content")}, "delete": {"enabled": deletes}}
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": storage,
        "http": {"addr": address},
    }
    return config | ({"auth": dict(auth)} if auth else {})


def _wait(process: subprocess.Popen[bytes], address: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise AssertionError(f"docker-registry did not start: {log.read_text()[-2000:]}")
        try:
            if httpx.get(f"http://{address}/v2/", trust_env=False, timeout=5).status_code in (200, 401):
                return
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("docker-registry does not answer")
