"""The platform as one supervised tree: keeper, PostgreSQL, Caddy and all services, started and stopped in order."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AsyncExitStack
from types import TracebackType

from shared.bus.memory import InProcessBus
from shared.bus.port import Bus
from shared.db import migrate
from shared.logging import get_logger
from shared.web import serve
from standalone.caddy import Caddy
from standalone.doctor import port_problem
from standalone.errors import PortTakenError, StartFailedError
from standalone.health import all_health
from standalone.home import Config, Home
from standalone.keeper import Keeper
from standalone.postgres import EmbeddedPostgres
from standalone.processes import MARK, end_marked
from standalone.services import Service, compose

log = get_logger(__name__)

Report = Callable[[str, float], None]
START_DEADLINE_SECONDS = 60.0


class Platform:
    """One running platform. Entering returns when every health check is green; leaving stops everything.

    The caller holds the lock of the data directory.
    """

    def __init__(self, home: Home, config: Config, *, report: Report) -> None:
        self._home = home
        self._config = config
        self._report = report
        self._stack = AsyncExitStack()
        self._failed: asyncio.Future[None] | None = None
        mark = {MARK: config.home_id}
        self._postgres = EmbeddedPostgres(
            home.postgres, socket_dir=home.postgres_socket, log_file=home.postgres_log, environment=mark
        )
        self._caddy = Caddy(home, config, environment=mark)

    async def __aenter__(self) -> Platform:
        self._failed = asyncio.get_running_loop().create_future()
        for name, port in (("HTTP", self._config.http_port), ("SSH", self._config.ssh_port)):
            option = "--port" if name == "HTTP" else "--ssh-port"
            if problem := port_problem(self._config.bind, port, option):
                raise PortTakenError(f"{name} port {port}: {problem.reason}; {problem.advice}")
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def failed(self) -> None:
        """Wait until a part that cannot be restarted ends by itself; raises StartFailedError that names it."""
        if self._failed is not None:
            await self._failed

    async def _start(self) -> None:
        self._stack.enter_context(Keeper(self._config.home_id))
        left_over = await asyncio.to_thread(end_marked, self._config.home_id)
        if left_over:
            log.warning("ended_left_over_processes", count=left_over)
        # What an earlier run left leads to processes that are gone, and to ports that may be somebody else's now.
        await asyncio.to_thread(shutil.rmtree, self._home.edge, ignore_errors=True)
        # Importing the services is half of a warm start; PostgreSQL and Caddy start meanwhile, as processes.
        self._stack.push_async_callback(self._stop_children)
        services, _, _ = await asyncio.gather(
            asyncio.to_thread(compose, self._home, self._config, self._postgres),
            self._timed("database", self._postgres.start()),
            self._timed("edge", self._caddy.start()),
        )
        await self._timed("migrations", self._migrate(services))
        await self._timed("services", self._serve(services))
        self._own("edge", self._caddy.supervise())
        self._own("database", self._watch_postgres())

    async def _migrate(self, services: list[Service]) -> None:
        async with asyncio.TaskGroup() as group:
            for service in services:
                if service.settings.database_url is not None:
                    group.create_task(migrate(service.settings.database_url, service.name))

    async def _serve(self, services: list[Service]) -> None:
        # An event that finds no consumer counts as delivered: none goes out before all services have subscribed.
        bus = InProcessBus(paused=True)
        self._stack.push_async_callback(bus.close)
        tasks = [self._own(service.name, self._serve_one(service, bus)) for service in services]
        self._stack.push_async_callback(self._stop_services, tasks)
        async with asyncio.timeout(START_DEADLINE_SECONDS):
            await self._until_healthy(tasks)
        bus.resume()

    async def _serve_one(self, service: Service, bus: Bus) -> None:
        await serve(service.make(bus), service.settings)

    async def _until_healthy(self, tasks: list[asyncio.Task[None]]) -> None:
        while True:
            for task in tasks:
                if task.done():
                    raise StartFailedError(
                        f"{task.get_name()} did not start: {task.exception()}; see {self._home.platform_log}"
                    )
            if all(health.healthy for health in await all_health(self._home, self._config)):
                return
            await asyncio.sleep(0.05)

    async def _watch_postgres(self) -> None:
        while True:
            status = await self._postgres.wait()
            log.error("database_ended", status=status)
            await asyncio.sleep(0.5)
            await self._postgres.start()

    def _own(self, name: str, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run for as long as the platform lives; an end by itself is a failure of the platform."""
        task = asyncio.create_task(work, name=name)
        task.add_done_callback(self._on_end)
        self._stack.push_async_callback(_cancel, task)
        return task

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or self._failed is None or self._failed.done():
            return
        reason = task.exception()
        log.error("component_ended", component=task.get_name(), reason=str(reason))
        self._failed.set_exception(
            StartFailedError(f"{task.get_name()} ended: {reason or 'without a reason'}; see {self._home.platform_log}")
        )

    async def _stop_services(self, tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*(_cancel(task) for task in tasks))

    async def _stop_children(self) -> None:
        await asyncio.gather(self._caddy.stop(), self._postgres.stop())
        await asyncio.to_thread(end_marked, self._config.home_id)

    async def _timed(self, step: str, work: Awaitable[None]) -> None:
        started = time.monotonic()
        await work
        self._report(step, time.monotonic() - started)


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait([task])
