"""A RabbitMQ node of our own: free ports, no plugins, everything in one directory, gone when stopped."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import aio_pika
from aio_pika.exceptions import CONNECTION_EXCEPTIONS

# Debian's /usr/sbin/rabbitmq-server changes the user and forgets the environment; this one does not.
_REAL_SERVER: Final = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
_VHOSTS: Final = 32
_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 15.0
_USER: Final = "guest"


class RabbitNode:
    """One broker in `directory`. `server` is the program; `start` after `stop` continues with the same state."""

    def __init__(self, directory: Path, *, server: Path) -> None:
        self._directory = directory
        self._server = _REAL_SERVER if _REAL_SERVER.exists() else server
        self._port, self._dist_port, self._epmd_port = _free_ports(3)
        self._node: asyncio.subprocess.Process | None = None
        self._epmd: asyncio.subprocess.Process | None = None
        self._used = 0

    def url(self, vhost: str) -> str:
        """URL of a virtual host."""
        return f"amqp://{_USER}:{_USER}@127.0.0.1:{self._port}/{vhost}"

    def next_vhost(self) -> str:
        """A virtual host that nobody has used yet.

        Raises:
            RuntimeError: all are used; raise their number here.
        """
        if self._used == _VHOSTS:
            raise RuntimeError(f"all {_VHOSTS} virtual hosts are used: raise the number in {__name__}")
        self._used += 1
        return _vhost(self._used - 1)

    async def start(self) -> None:
        """Start the node and return when it takes connections.

        Raises:
            RuntimeError: it ended, or was not ready within a minute; tells the end of its log.
        """
        self._write_files()
        environment = self._environment()
        # Our own name daemon: Erlang would start one that outlives the node.
        self._epmd = await _spawn(_epmd(), environment, self._directory / "epmd.log")
        self._node = await _spawn(self._server, environment, self._log)
        try:
            async with asyncio.timeout(_START_SECONDS):
                await self._until_ready(self._node)
        except TimeoutError as exc:
            await self.stop()
            raise RuntimeError(f"RabbitMQ is not ready: {self._tail()}") from exc
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Shut the node and its name daemon down."""
        node, self._node = self._node, None
        epmd, self._epmd = self._epmd, None
        for process in (node, epmd):
            if process is not None:
                await _end(process)

    @property
    def _log(self) -> Path:
        return self._directory / "node.log"

    def _environment(self) -> dict[str, str]:
        base = str(self._directory)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": base,
            "RUNNING_UNDER_SYSTEMD": "true",  # makes the script become the node: one process to end
            "ERL_EPMD_PORT": str(self._epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"workflow-{os.getpid()}-{self._port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self._port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_CONFIG_FILE": f"{base}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{base}/enabled_plugins",
            "RABBITMQ_MNESIA_BASE": f"{base}/mnesia",
            "RABBITMQ_LOG_BASE": base,
            "RABBITMQ_LOGS": "-",
            # Idle schedulers that spin would take a test machine's few cores.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none",
        }

    def _write_files(self) -> None:
        definitions = self._directory / "definitions.json"
        vhosts = [{"name": _vhost(number)} for number in range(_VHOSTS)]
        rights = [
            {"user": _USER, "vhost": each["name"], "configure": ".*", "write": ".*", "read": ".*"} for each in vhosts
        ]
        user = {"name": _USER, "password": _USER, "tags": "administrator"}
        definitions.write_text(json.dumps({"users": [user], "vhosts": vhosts, "permissions": rights}))
        (self._directory / "enabled_plugins").write_text("[].\n")
        (self._directory / "rabbitmq.conf").write_text(
            f"load_definitions = {definitions}\ndisk_free_limit.absolute = 1MB\nraft.wal_max_size_bytes = 4000000\n"
        )

    async def _until_ready(self, node: asyncio.subprocess.Process) -> None:
        while True:
            if node.returncode is not None:
                raise RuntimeError(f"RabbitMQ ended with status {node.returncode}: {self._tail()}")
            if await is_reachable(self.url(_vhost(_VHOSTS - 1))):
                return
            await asyncio.sleep(0.1)

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:] if self._log.exists() else "no log was written"


async def is_reachable(url: str) -> bool:
    """Whether the broker at `url` takes connections now."""
    parts = urlsplit(url)
    with contextlib.suppress(*CONNECTION_EXCEPTIONS):
        # The driver logs a refused connection as an error: ask the port first.
        _, writer = await asyncio.open_connection(parts.hostname, parts.port)
        writer.close()
        connection = await aio_pika.connect(url, timeout=5)
        await connection.close()
        return True
    return False


def _vhost(number: int) -> str:
    return f"t{number}"


def _epmd() -> Path:
    found = shutil.which("epmd") or next(Path("/usr/lib").glob("erlang/erts-*/bin/epmd"), None)
    if found is None:
        raise RuntimeError("epmd is not installed; it belongs to Erlang")
    return Path(found)


def _free_ports(count: int) -> list[int]:
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [listener.getsockname()[1] for listener in listeners]
    finally:
        for listener in listeners:
            listener.close()


async def _spawn(program: Path, environment: dict[str, str], log: Path) -> asyncio.subprocess.Process:
    with log.open("ab") as output:
        return await asyncio.create_subprocess_exec(
            str(program),
            env=environment,
            cwd=log.parent,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )


async def _end(process: asyncio.subprocess.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        process.send_signal(number)
        try:
            await asyncio.wait_for(process.wait(), _STOP_SECONDS)
        except TimeoutError:
            continue
