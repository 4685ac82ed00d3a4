"""Serves an application with uvicorn: several times in one process, on a port or a unix socket, ending gracefully."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import uvicorn
from fastapi import FastAPI

from shared.logging import get_logger
from shared.process import settle
from shared.settings import ServiceSettings, SettingsError

_GRACE_SECONDS: Final = 2
_MAX_SOCKET_PATH: Final = 107  # unix(7): sun_path holds 108 bytes, one of them the end
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
log = get_logger(__name__)


@dataclass(frozen=True)
class ServerAddress:
    """Where a server really listens: a unix socket, or a host and the port that was picked."""

    host: str | None
    port: int | None
    socket: Path | None

    @property
    def base_url(self) -> str:
        """URL for a client; with a unix socket its host is only a name."""
        return "http://localhost" if self.socket else f"http://{self.host}:{self.port}"


class _Server(uvicorn.Server):
    """uvicorn without signal handlers, and without waking up ten times a second to look whether it should end."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ending = asyncio.Event()

    def end(self) -> None:
        self.should_exit = True
        self._ending.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        while not await self.on_tick(0):  # 0: refresh the Date header
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), 1.0)


async def serve(app: FastAPI, settings: ServiceSettings, *, install_signal_handlers: bool = False) -> None:
    """Serve `app` until cancelled or, with `install_signal_handlers`, until SIGTERM or SIGINT.

    Runs the application's lifespan around it; what that raises comes out here. Requests get two seconds to finish.

    Raises:
        SettingsError: the address cannot be bound.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    if install_signal_handlers:
        for number in _SIGNALS:
            loop.add_signal_handler(number, stop.set)
    try:
        async with serving(app, settings) as address:
            if install_signal_handlers:  # the process is ours alone
                settle()
            log.info("serving", service=app.state.service, address=str(address.socket or address.base_url))
            await stop.wait()
    finally:
        if install_signal_handlers:
            for number in _SIGNALS:
                loop.remove_signal_handler(number)


@asynccontextmanager
async def serving(app: FastAPI, settings: ServiceSettings) -> AsyncIterator[ServerAddress]:
    """Serve `app` during the block, which starts when the server takes requests. See `serve`."""
    listener = _bind(settings)
    try:
        address = _address(listener, settings)
        async with app.router.lifespan_context(app) as state:
            server = _Server(_config(app, settings))
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            server.lifespan.state.update(state or {})
            await server.startup(sockets=[listener])
            ticking = asyncio.create_task(server.main_loop(), name=f"serve-{app.state.service}")
            try:
                yield address
            finally:
                await _shut_down(server, ticking, listener)
    finally:
        listener.close()
        if settings.bind_socket is not None:
            settings.bind_socket.unlink(missing_ok=True)


async def _shut_down(server: _Server, ticking: asyncio.Task[None], listener: socket.socket) -> None:
    server.end()
    await ticking
    try:
        async with asyncio.timeout(_GRACE_SECONDS + 1):
            await server.shutdown(sockets=[listener])
    except TimeoutError:
        log.warning("connections_cut", count=len(server.server_state.connections))


def _config(app: FastAPI, settings: ServiceSettings) -> uvicorn.Config:
    options: dict[str, Any] = {
        "ws": "websockets-sansio",
        "ws_per_message_deflate": False,
        "lifespan": "off",  # we run it ourselves: uvicorn would turn its errors into sys.exit
        "log_config": None,
        "access_log": False,
        "server_header": False,
        "timeout_graceful_shutdown": _GRACE_SECONDS,
        # Whoever may connect to our unix socket is our own edge; on a port only this machine is.
        "forwarded_allow_ips": "*" if settings.bind_socket else "127.0.0.1",
    }
    return uvicorn.Config(app, **(options | app.state.server_options))


def _bind(settings: ServiceSettings) -> socket.socket:
    path = settings.bind_socket
    try:
        if path is not None:
            return _bind_socket(path)
        family = socket.AF_INET6 if ":" in settings.bind_host else socket.AF_INET
        return socket.create_server((settings.bind_host, settings.bind_port), family=family, backlog=2048)
    except OSError as exc:
        where = str(path or f"{settings.bind_host}:{settings.bind_port}")
        raise SettingsError(f"cannot listen on {where}: {exc.strerror or exc}") from exc


def _bind_socket(path: Path) -> socket.socket:
    if len(os.fsencode(path)) > _MAX_SOCKET_PATH:
        raise SettingsError(f"the path {path} is too long for a unix socket; choose a shorter directory")
    path.unlink(missing_ok=True)  # of a process that was killed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(2048)
    except BaseException:
        listener.close()
        raise
    return listener


def _address(listener: socket.socket, settings: ServiceSettings) -> ServerAddress:
    if settings.bind_socket is not None:
        return ServerAddress(None, None, settings.bind_socket)
    host, port = listener.getsockname()[:2]
    return ServerAddress(f"[{host}]" if ":" in host else host, port, None)
