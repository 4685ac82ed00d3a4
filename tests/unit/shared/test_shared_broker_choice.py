"""Which broker the tests of events get."""

from __future__ import annotations

from pathlib import Path

import pytest

from shared.testing.rabbitmq import RabbitNode
from support import broker
from support.broker import ExternalRabbit, choose_broker, read_password, running_compose

COMPOSE = ("docker", "compose")


@pytest.fixture
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the compose file's secrets."""
    file = tmp_path / ".env"
    file.write_text("POSTGRES_PASSWORD='p'\nRABBITMQ_PASSWORD='r-_='\n")
    monkeypatch.setattr(broker, "ENV_FILE", file)
    return file


def _program(directory: Path, name: str, script: str) -> None:
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)


def test_an_installed_server_wins(tmp_path: Path) -> None:
    chosen = choose_broker(tmp_path, server=Path("/usr/sbin/rabbitmq-server"), compose=COMPOSE)
    assert isinstance(chosen, RabbitNode)


def test_the_compose_files_broker_is_the_second_choice(tmp_path: Path, secrets: Path) -> None:
    chosen = choose_broker(tmp_path, server=None, compose=COMPOSE)
    assert isinstance(chosen, ExternalRabbit)
    assert chosen.url("v") == f"amqp://workflow:{read_password(secrets)}@127.0.0.1:5672/v"
    assert read_password(secrets) == "r-_="


def test_without_either_the_test_is_skipped_and_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REQUIRE_ALL", raising=False)
    with pytest.raises(pytest.skip.Exception, match="rabbitmq-server is not installed"):
        choose_broker(tmp_path, server=None, compose=None)
    monkeypatch.setenv("REQUIRE_ALL", "1")
    with pytest.raises(pytest.fail.Exception, match="rabbitmq-server is not installed"):
        choose_broker(tmp_path, server=None, compose=None)


def test_compose_counts_only_while_its_broker_runs(
    tmp_path: Path, secrets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert running_compose() is None
    _program(tmp_path, "docker", "exit 1")
    assert running_compose() is None
    _program(tmp_path, "docker-compose", "echo 3f2a")
    assert running_compose() == ("docker-compose",)
    _program(tmp_path, "docker", "echo 3f2a")
    assert running_compose() == ("docker", "compose")
    _program(tmp_path, "docker", "exit 0")
    _program(tmp_path, "docker-compose", "exit 0")
    assert running_compose() is None
    secrets.unlink()
    _program(tmp_path, "docker", "echo 3f2a")
    assert running_compose() is None
