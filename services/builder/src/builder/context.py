"""Puts the builder together and takes it apart, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from builder.background.consumers import Consumers
from builder.git.environment import GitEnvironment
from builder.git.hooks import HookServer
from builder.git.packing import Packer
from builder.git.repository import Repositories
from builder.runner.port import BuildLimits, Runner
from builder.runners import Running, SourceDoor, running_runner
from builder.schema.tables import outbox
from builder.services.accounts import AccountCache
from builder.services.builds import Builds, ConfigOf
from builder.services.controller import BuilderKey, ControllerClient
from builder.services.limits import CommandLimits
from builder.services.locks import PushLocks
from builder.services.logs import BuildLogs
from builder.services.pushes import Push, Pushes
from builder.services.records import BuildRecords
from builder.services.removal import AppRemoval
from builder.services.sessions import GitSessions
from builder.services.verdicts import Verdicts
from builder.settings import Settings
from builder.ssh.server import SshServer
from shared.auth import ServiceTokens, TokenVerifier
from shared.bus import Bus, connect_bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.http import create_client
from shared.outbox import Relay
from shared.settings import SettingsError
from shared.tasks import TaskOwner


@dataclass(frozen=True)
class Context:
    """The parts that the HTTP interface and tests talk to."""

    database: Database
    bus: Bus
    tokens: TokenVerifier
    records: BuildRecords
    builds: Builds
    logs: BuildLogs
    ssh: SshServer
    source_door: SourceDoor | None


@asynccontextmanager
async def open_context(settings: Settings, *, bus: Bus | None, runner: Runner | None) -> AsyncIterator[Context]:
    """Everything started: records recovered, consumers subscribed, relay running, hook socket and SSH listening.

    Taken apart in the reverse order: commands under way get their time, builds are stopped and recorded, sessions
    ended, pools closed.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = _database(settings)
        stack.push_async_callback(database.close)
        bus = await _bus(settings, bus, stack)
        passport = await stack.enter_async_context(
            create_client(base_url=settings.passport_url, socket=settings.passport_socket)
        )
        accounts, controller = await _controller(settings, passport, stack)
        running = Running(runner) if runner else await stack.enter_async_context(running_runner(settings))
        parts = _Parts(settings, database, clock, running.runner, controller.config)
        await parts.recover()
        await Consumers(records=parts.records, verdicts=parts.verdicts, removal=parts.removal).subscribe(bus)
        owner = await stack.enter_async_context(TaskOwner())
        owner.start("builder-relay", Relay(database, outbox, bus, clock).run)
        stack.push_async_callback(parts.packer.close)
        await parts.hooks.start()
        stack.push_async_callback(parts.hooks.close)
        ssh = SshServer(settings, sessions=parts.sessions(controller), accounts=accounts)
        await ssh.start()
        stack.push_async_callback(ssh.close)
        stack.push_async_callback(parts.builds.close)
        stack.push_async_callback(ssh.drain)
        yield Context(
            database=database,
            bus=bus,
            tokens=TokenVerifier(issuer=settings.issuer, audience="builder", client=passport),
            records=parts.records,
            builds=parts.builds,
            logs=parts.logs,
            ssh=ssh,
            source_door=running.door,
        )


class _Parts:
    """The objects of our own, wired."""

    def __init__(
        self, settings: Settings, database: Database, clock: Clock, runner: Runner, config_of: ConfigOf
    ) -> None:
        self._settings = settings
        self._clock = clock
        self.records = BuildRecords(database, clock)
        self.verdicts = Verdicts()
        self.logs = BuildLogs(settings.build_logs, max_bytes=settings.build_log_bytes)
        self.repositories = Repositories(settings.repos)
        hooks_dir = settings.run_dir / "git-hooks"
        self.environment = GitEnvironment(
            hooks_dir=hooks_dir,
            hook_socket=settings.hook_socket,
            max_push_bytes=settings.max_push_bytes,
            mark=settings.process_mark,
        )
        self.packer = Packer(self.repositories, self.environment)
        self.builds = Builds(
            runner=runner,
            records=self.records,
            logs=self.logs,
            verdicts=self.verdicts,
            config_of=config_of,
            at_once=settings.builds_at_once,
            kept=settings.builds_kept,
            verdict_timeout=settings.verdict_timeout,
        )
        self.pushes = Pushes(
            runner=runner,
            builds=self.builds,
            records=self.records,
            environment=self.environment,
            limits=BuildLimits(settings.build_timeout, settings.build_disk_bytes),
        )
        self.hooks: HookServer[Push] = HookServer(
            socket=settings.hook_socket, hooks_dir=hooks_dir, handler=self.pushes.answer_hook
        )
        self.removal = AppRemoval(
            builds=self.builds, records=self.records, repositories=self.repositories, logs=self.logs, runner=runner
        )

    async def recover(self) -> None:
        """Clear up after an earlier process that did not get to do it."""
        await asyncio.to_thread(self.repositories.sweep)
        await self.builds.recover()

    def sessions(self, controller: ControllerClient) -> GitSessions:
        return GitSessions(
            controller=controller,
            locks=PushLocks(self._clock),
            repositories=self.repositories,
            hooks=self.hooks,
            environment=self.environment,
            packer=self.packer,
            upload_idle_timeout=self._settings.upload_idle_timeout,
            limits=CommandLimits.of(self._settings),
        )


def _database(settings: Settings) -> Database:
    if settings.database_url is None:
        raise SettingsError("BUILDER_DATABASE_URL: is required; set it to the URL of the database `builder`")
    return Database(settings.database_url, pool_size=settings.database_pool_size)


async def _bus(settings: Settings, bus: Bus | None, stack: AsyncExitStack) -> Bus:
    """The bus that was passed in, which its owner closes, or one of our own."""
    if bus is not None:
        return bus
    own = connect_bus(settings.bus_url)
    stack.push_async_callback(own.close)
    return own


async def _controller(
    settings: Settings, passport: httpx.AsyncClient, stack: AsyncExitStack
) -> tuple[AccountCache, ControllerClient]:
    tokens = ServiceTokens(
        client=passport,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        audience="controller",
        scopes=["controller:hook"],
    )
    key = settings.controller_key
    auth = tokens if key is None else BuilderKey(key)
    client = await stack.enter_async_context(
        create_client(base_url=settings.controller_url, socket=settings.controller_socket, auth=auth)
    )
    controller = ControllerClient(client, timeout=settings.controller_timeout)
    accounts = AccountCache(controller.account)
    stack.push_async_callback(accounts.close)
    return accounts, controller
