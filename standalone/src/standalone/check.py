"""`workflow check`: the whole path, unattended, in a directory of its own, leaving nothing behind; and its figures."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from standalone.client import Client
from standalone.demo import SAMPLE_APP, Demo, ask
from standalone.errors import CommandFailedError
from standalone.home import Config, Home
from standalone.measure import Measurements, measure
from standalone.processes import marked

Say = Callable[[str], None]
_PATIENCE_SECONDS = 60.0


def run_check(*, figures: bool, say: Say) -> dict[str, object]:
    """Start, push the sample, change its configuration, destroy it, stop; with `figures`, measure on the way.

    Raises:
        CommandFailedError: a step did not do what it must; the text says which.
    """
    with _temporary_home() as home:
        try:
            return _check(home, figures=figures, say=say)
        finally:
            if home.running_pid() is not None:
                _workflow(home, "down")


def _check(home: Home, *, figures: bool, say: Say) -> dict[str, object]:
    http_port, ssh_port = _free_ports(2)
    cold = _timed(lambda: _workflow(home, "up", "--detach", "--port", str(http_port), "--ssh-port", str(ssh_port)))
    say(f"platform started for the first time ({cold:.1f} s)")
    config = home.load()
    demo = Demo(home, config, say=say)
    deployed = demo.deploy()
    _expect("from sample v2" in deployed.answer, f"the sample answered {deployed.answer!r}")
    _expect(deployed.version == 2, f"the first push made release v{deployed.version}, not v2")
    say(f"{deployed.url} answers: {deployed.answer}")
    result: dict[str, object] = {"cores": os.cpu_count(), "first_start_seconds": round(cold, 2)}
    result["first_push_seconds"] = round(deployed.push_seconds, 2)
    _configure(config, say)
    if figures:
        result |= _measured(home, config, demo, say)
    _restart(home, say, result)
    with Client(config) as client:
        client.login_as_admin()
        client.destroy(SAMPLE_APP)
    say("the sample was destroyed")
    result["stop_seconds"] = round(_timed(lambda: _workflow(home, "down")), 2)
    left = marked(config.home_id)
    _expect(not left, f"{len(left)} processes were left running: {[process.pid for process in left]}")
    say(f"platform stopped ({result['stop_seconds']} s), nothing was left running")
    return result


def _configure(config: Config, say: Say) -> None:
    with Client(config) as client:
        client.login_as_admin()
        client.set_config(SAMPLE_APP, {"GREETING": "Good evening"})
        answer = _until(lambda: _answer_with(config, "Good evening"), "the new configuration to be served")
        version = client.latest_release(SAMPLE_APP)["version"]
    _expect(version == 3, f"config set made release v{version}, not v3")
    say(f"config set made v3: {answer}")


def _restart(home: Home, say: Say, result: dict[str, object]) -> None:
    """A stop and a warm start; the app must come back by itself."""
    _workflow(home, "down")
    warm = _timed(lambda: _workflow(home, "up", "--detach"))
    result["warm_start_seconds"] = round(warm, 2)
    config = home.load()
    _until(lambda: _answer_with(config, "Good evening"), "the sample to come back after a restart")
    say(f"platform restarted ({warm:.1f} s), the sample came back")


def _measured(home: Home, config: Config, demo: Demo, say: Say) -> dict[str, object]:
    measurements: Measurements = measure(home, config, demo, say)
    for line in measurements.lines():
        say(line)
    return measurements.as_dict()


def _answer_with(config: Config, text: str) -> str | None:
    try:
        answer = ask(config, SAMPLE_APP)
    except CommandFailedError:
        return None
    return answer if text in answer else None


def _until(probe: Callable[[], str | None], what: str) -> str:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if answer := probe():
            return answer
        time.sleep(0.05)
    raise CommandFailedError(f"waited {_PATIENCE_SECONDS:.0f} s in vain for {what}")


def _workflow(home: Home, *arguments: str) -> None:
    command = [sys.executable, "-m", "standalone.cli", *arguments]
    environment = os.environ | {"WORKFLOW_HOME": str(home.path)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode != 0:
        log = home.platform_log.read_text(errors="replace")[-3000:] if home.platform_log.exists() else ""
        raise CommandFailedError(
            f"`workflow {' '.join(arguments)}` failed: {done.stderr.strip() or done.stdout.strip()}\n{log}"
        )


def _expect(claim: bool, otherwise: str) -> None:
    if not claim:
        raise CommandFailedError(otherwise)


def _timed(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


@contextmanager
def _temporary_home() -> Iterator[Home]:
    path = Path(tempfile.mkdtemp(prefix="workflow-"))
    try:
        yield Home(path)
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(item.getsockname()[1]) for item in sockets]
    for item in sockets:
        item.close()
    return ports
