"""`workflow doctor`: each finding has a verdict and, where something is to be done, an advice."""

import socket
from pathlib import Path

import pytest

from standalone.doctor import Verdict, examine, failures, port_problem
from standalone.home import Home


def test_a_port_in_use_is_found_and_explained(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.prepare()
    with socket.create_server(("127.0.0.1", 0)) as server:
        config = home.load()
        config.http_port = server.getsockname()[1]
        home.save(config)
        finding = next(item for item in failures(examine(home)) if item.name == "HTTP port")
    assert "in use" in finding.detail
    assert "--port" in finding.advice


def test_looking_leaves_nothing_behind(tmp_path: Path) -> None:
    examine(Home(tmp_path / "home"))
    assert not (tmp_path / "home").exists()


def test_everything_with_a_shortcoming_has_an_advice(tmp_path: Path) -> None:
    findings = examine(Home(tmp_path / "home"))
    assert {"Python", "data directory", "disk", "git", "name resolution", "container tool"} <= {
        item.name for item in findings
    }
    assert all(bool(item.advice) != (item.verdict is Verdict.OK) for item in findings)


def test_a_missing_program_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = {item.name: item for item in examine(Home(tmp_path / "home")) if item.detail == "not found"}
    assert missing["git"].verdict is Verdict.FAIL
    assert missing["npm"].verdict is Verdict.WARN


def test_a_free_port_is_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert port_problem("127.0.0.1", port, "--port") is None


def test_an_address_of_another_machine_is_not_called_a_taken_port() -> None:
    problem = port_problem("192.0.2.1", 0, "--port")
    assert problem is not None
    assert problem.reason == "192.0.2.1 is not an address of this machine"
    assert "--bind" in problem.advice
