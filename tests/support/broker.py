"""Which RabbitMQ the tests use: a node of their own, else the compose file's where no server is installed."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

from shared.testing.rabbitmq import RabbitNode, is_reachable
from shared.testing.wait import eventually
from support.tools import unavailable

ROOT: Final = Path(__file__).parents[2]
ENV_FILE: Final = ROOT / "deploy/compose/.env"
COMPOSE_COMMANDS: Final = (("docker", "compose"), ("docker-compose",))
_CALL_SECONDS: Final = 60.0
_START_SECONDS: Final = 60.0
_USER: Final = "workflow"
_PORT: Final = 5672


class Broker(Protocol):
    """A broker that a test may stop and must start again."""

    def url(self, vhost: str) -> str:
        """URL of a virtual host."""

    def next_vhost(self) -> str:
        """A virtual host that nobody has used yet."""

    async def start(self) -> None:
        """Return when it takes connections."""

    async def stop(self) -> None:
        """Return when it is down."""


class ExternalRabbit:
    """The `rabbitmq` service of docker-compose.yml, driven by `compose`; `password` is the one of its `.env`."""

    def __init__(self, compose: Sequence[str], *, password: str) -> None:
        self._compose = compose
        self._password = password
        self._vhosts: list[str] = []

    def url(self, vhost: str) -> str:
        """URL of a virtual host."""
        return f"amqp://{_USER}:{self._password}@127.0.0.1:{_PORT}/{vhost}"

    def next_vhost(self) -> str:
        """A new virtual host, which lives until `remove_vhosts`."""
        name = f"test-{os.getpid()}-{len(self._vhosts)}"
        self._control("add_vhost", name)
        self._vhosts.append(name)
        self._control("set_permissions", "-p", name, _USER, ".*", ".*", ".*")
        return name

    def remove_vhosts(self) -> None:
        """Remove the virtual hosts and all that is in them."""
        while self._vhosts:
            self._control("delete_vhost", self._vhosts.pop())

    async def start(self) -> None:
        """Start the service where it is stopped, and return when it takes connections.

        Raises:
            AssertionError: it took none within a minute.
        """
        await asyncio.to_thread(_call, self._compose, "start", "rabbitmq")
        await eventually(lambda: is_reachable(self.url("")), timeout=_START_SECONDS)

    async def stop(self) -> None:
        """Stop the service; its data stays."""
        await asyncio.to_thread(_call, self._compose, "stop", "rabbitmq")

    def _control(self, *arguments: str) -> None:
        _call(self._compose, "exec", "-T", "rabbitmq", "rabbitmqctl", "--quiet", *arguments)


def choose_broker(
    directory: Path, *, server: Path | None, compose: Sequence[str] | None
) -> RabbitNode | ExternalRabbit:
    """A node in `directory` where a `server` is installed, else the one that `compose` runs.

    Without either the test ends here.
    """
    if server is not None:
        return RabbitNode(directory, server=server)
    if compose is None:
        unavailable("rabbitmq-server is not installed, and the compose file's broker does not run")
    return ExternalRabbit(compose, password=read_password(ENV_FILE))


def running_compose() -> Sequence[str] | None:
    """The command that has the compose file's broker running; None when none has."""
    if not ENV_FILE.exists():
        return None
    for command in COMPOSE_COMMANDS:
        try:
            if _call(command, "ps", "--quiet", "rabbitmq").strip():
                return command
        except (OSError, subprocess.SubprocessError):
            continue
    return None


def read_password(env_file: Path) -> str:
    """The broker's password in the file that deploy/compose/make_secrets.py wrote."""
    values = dict(line.split("=", 1) for line in env_file.read_text().splitlines())
    return values["RABBITMQ_PASSWORD"].strip("'")


def _call(compose: Sequence[str], *arguments: str) -> str:
    done = subprocess.run(
        [*compose, "--env-file", str(ENV_FILE), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=_CALL_SECONDS,
        check=True,
        stdin=subprocess.DEVNULL,
    )
    return done.stdout
