"""The platform as a process: start, refusals, restart, kill, stop."""

import json
import os
import signal
import socket
from pathlib import Path

import psutil
import pytest

from e2e.conftest import free_ports
from e2e.live import GOOD, Live, User, eventually, workflow
from standalone.home import Home
from standalone.keeper import keeper_pids
from standalone.processes import marked

pytestmark = pytest.mark.timeout(300)


def test_status_and_doctor_of_a_running_platform(live: Live, admin: User) -> None:
    done = workflow(live.home.path, "status", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert all(part["healthy"] for part in report["health"])
    assert {"passport", "controller", "builder", "hooks", "registry_refresher", "edge", "git over ssh"} == {
        part["component"] for part in report["health"]
    }
    done = workflow(live.home.path, "doctor")
    assert done.returncode == 0, done.stdout
    assert "used by the running platform" in done.stdout


def test_a_second_up_is_refused(live: Live) -> None:
    done = workflow(live.home.path, "up")
    assert done.returncode == 1
    assert "runs on" in done.stderr
    assert "workflow down" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_reset_of_a_running_platform_is_refused(live: Live) -> None:
    done = workflow(live.home.path, "reset", "--yes")
    assert done.returncode == 1
    assert "workflow down" in done.stderr
    assert live.home.config_file.exists()


def test_the_log_holds_no_secrets(live: Live, admin: User) -> None:
    text = live.home.platform_log.read_text()
    config = live.config
    token = admin.http.headers["Authorization"].split()[1]
    for secret in (config.admin_password, config.controller_client_secret, config.builder_client_secret, token):
        assert secret not in text


def test_nothing_runs(short_path: Path) -> None:
    for command in ("status", "down"):
        done = workflow(short_path, command)
        assert done.returncode == 3
        assert "no platform runs" in done.stderr


@pytest.mark.parametrize("option", ["--port", "--ssh-port"])
def test_a_taken_port(short_path: Path, option: str) -> None:
    http_port, ssh_port = free_ports()
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = server.getsockname()[1]
        ports = {"--port": str(http_port), "--ssh-port": str(ssh_port), option: str(taken)}
        done = workflow(short_path, "up", *(part for item in ports.items() for part in item))
    assert done.returncode == 1
    assert f"{taken}" in done.stderr
    assert option in done.stderr
    assert not (short_path / "postgres").exists()


def test_a_directory_that_cannot_be_written() -> None:
    done = workflow(Path("/proc/workflow"), "up")
    assert done.returncode == 1
    assert "set WORKFLOW_HOME" in done.stderr


def test_kill_9_leaves_nothing_and_the_next_start_brings_the_apps_back(short_path: Path, tmp_path: Path) -> None:
    http_port, ssh_port = free_ports()
    options = ("--detach", "--port", str(http_port), "--ssh-port", str(ssh_port))
    done = workflow(short_path, "up", *options)
    assert done.returncode == 0, done.stdout + done.stderr
    home = Home(short_path)
    live = Live(home, home.load(), tmp_path)
    user = live.make_user("admin", live.config.admin_password)
    user.call("POST", "/v2/apps/", expect=201, json={"id": "phoenix"})
    pushed = live.push(user, live.repository("phoenix", GOOD), "phoenix")
    assert pushed.returncode == 0, pushed.stderr

    pid = home.running_pid()
    assert pid is not None
    remains = marked(live.config.home_id) + [psutil.Process(keeper) for keeper in keeper_pids(live.config.home_id)]
    assert any("DRYCC_APP" in process.environ() for process in remains if process.name().startswith("python"))
    os.kill(pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(remains, timeout=20)
    assert alive == []

    done = workflow(short_path, "up", "--detach")
    assert done.returncode == 0, done.stdout + done.stderr
    eventually(lambda: live.answer("phoenix") == (200, "v2 - one"), "the app to come back")
    user.http.close()
    done = workflow(short_path, "down")
    assert done.returncode == 0, done.stderr
    assert marked(live.config.home_id) == []
    assert keeper_pids(live.config.home_id) == []
    done = workflow(short_path, "reset", "--yes")
    assert done.returncode == 0
    assert not short_path.exists()
