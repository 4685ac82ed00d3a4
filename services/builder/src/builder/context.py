"""Puts the builder together and takes it apart, in order."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import httpx

from builder.background.cleaner import Cleaner
from builder.background.consumers import Consumers
from builder.git.environment import GitEnvironment
from builder.git.hooks import HookServer
from builder.git.packing import Packer
from builder.git.repository import Repositories
from builder.runner.port import BuildLimits, Runner
from builder.runners import Running, SourceDoor, running_runner
from builder.schema.tables import outbox
from builder.services.accounts import AccountCache
from builder.services.alone import Alone
from builder.services.builds import Builds
from builder.services.clearing import Clearing
from builder.services.controller import BuilderKey, ControllerClient
from builder.services.deploys import Deploys, Push
from builder.services.limits import CommandLimits
from builder.services.logs import BuildLogs
from builder.services.outcome import ReleasesByEvents
from builder.services.pushes import Pushes
from builder.services.records import BuildRecords
from builder.services.registry_access import RegistryAccess
from builder.services.release_calls import ReleaseCalls
from builder.services.release_records import ReleaseRecords
from builder.services.releases import Releases
from builder.services.releases_by_hook import ReleasesByHook
from builder.services.removal import AppRemoval
from builder.services.retention import Retention
from builder.services.sessions import GitSessions
from builder.services.turns import Turns
from builder.services.verdicts import Verdicts
from builder.settings import Settings
from builder.ssh.server import SshServer
from shared.auth import ServiceTokens, TokenVerifier
from shared.bus import Bus, InProcessBus, connect_bus
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
    registry: RegistryAccess | None


@asynccontextmanager
async def open_context(settings: Settings, *, bus: Bus | None, runner: Runner | None) -> AsyncIterator[Context]:
    """Everything started: no other builder at work, records recovered, consumers subscribed, relay running, hook socket
    and SSH listening.

    Taken apart in the reverse order: commands under way get their time, builds are stopped and recorded, sessions
    ended, pools closed.
    """
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        database = _database(settings)
        stack.push_async_callback(database.close)
        alone = Alone(database, on_loss=lambda: signal.raise_signal(signal.SIGTERM))
        await alone.take()
        stack.push_async_callback(alone.leave)
        bus = await _bus(settings, bus, stack)
        passport = await stack.enter_async_context(
            create_client(base_url=settings.passport_url, socket=settings.passport_socket)
        )
        auth = _auth_at_controller(settings, passport)
        accounts, controller = await _controller(settings, auth, stack)
        calls = await _release_calls(settings, auth, stack)
        running = Running(runner) if runner else await stack.enter_async_context(running_runner(settings))
        parts = _Parts(settings, database, clock, running=running, controller=controller, calls=calls)
        await parts.recover()
        await Consumers(records=parts.records, verdicts=parts.verdicts, removal=parts.removal).subscribe(bus)
        owner = await stack.enter_async_context(TaskOwner())
        owner.start("builder-alone", alone.keep)
        owner.start("builder-relay", Relay(database, outbox, bus, clock).run)
        owner.start("builder-cleaner", parts.cleaner.run)
        stack.push_async_callback(parts.packer.close)
        await parts.hooks.start()
        stack.push_async_callback(parts.hooks.close)
        ssh = SshServer(settings, sessions=parts.sessions(controller), accounts=accounts)
        await ssh.start()
        stack.push_async_callback(ssh.close)
        stack.push_async_callback(parts.builds.close)
        stack.push_async_callback(ssh.drain)
        stack.push_async_callback(parts.turns.close)
        yield Context(
            database=database,
            bus=bus,
            tokens=TokenVerifier(issuer=settings.issuer, audience="builder", client=passport),
            records=parts.records,
            builds=parts.builds,
            logs=parts.logs,
            ssh=ssh,
            source_door=running.door,
            registry=parts.registry,
        )


class _Parts:
    """The objects of our own, wired."""

    def __init__(
        self,
        settings: Settings,
        database: Database,
        clock: Clock,
        *,
        running: Running,
        controller: ControllerClient,
        calls: ReleaseCalls,
    ) -> None:
        runner, config_of = running.runner, controller.config
        self._settings = settings
        self._clock = clock
        self.records = BuildRecords(database, clock)
        self.registry = RegistryAccess.of(settings, self.records, clock)
        self.verdicts = Verdicts()
        self.turns = Turns(clock)
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
        retention = Retention(
            database=database,
            clock=clock,
            runner=runner,
            logs=self.logs,
            wanted_of=controller.wanted,
            images=running.images,
            sources=running.door.sources if running.door is not None else None,
            kept=settings.builds_kept,
            logs_kept=settings.build_logs_kept,
            cache_kept=settings.build_cache_kept,
        )
        self.builds = Builds(
            runner=runner,
            records=self.records,
            logs=self.logs,
            releases=self._releases(calls, ReleaseRecords(database, clock)),
            config_of=config_of,
            clearing=Clearing(runner=runner, records=self.records, logs=self.logs),
            at_once=settings.builds_at_once,
            tidy=retention.after_build,
        )
        deploys = Deploys(
            runner=runner,
            builds=self.builds,
            records=self.records,
            turns=self.turns,
            config_of=config_of,
            limits=BuildLimits(settings.build_timeout, settings.build_disk_bytes),
        )
        self.pushes = Pushes(deploys=deploys, environment=self.environment)
        self.hooks: HookServer[Push] = HookServer(
            socket=settings.hook_socket, hooks_dir=hooks_dir, handler=self.pushes.answer_hook
        )
        self.removal = AppRemoval(
            builds=self.builds,
            verdicts=self.verdicts,
            records=self.records,
            repositories=self.repositories,
            logs=self.logs,
            runner=runner,
            images=running.images,
        )
        self.cleaner = Cleaner(
            database=database,
            clock=clock,
            retention=retention,
            removal=self.removal,
            repositories=self.repositories,
            logs=self.logs,
            interval=settings.clean_interval,
        )

    def _releases(self, calls: ReleaseCalls, records: ReleaseRecords) -> Releases:
        patience = self._settings.verdict_timeout
        if self._settings.releases_by == "hook":
            return ReleasesByHook(calls, records, patience=patience)
        return ReleasesByEvents(self.verdicts, self.records, idle_timeout=patience)

    async def recover(self) -> None:
        """Clear up after an earlier process that did not get to do it."""
        await asyncio.to_thread(self.repositories.sweep)
        for run in await self.builds.recover():
            self.turns.keep(run)

    def sessions(self, controller: ControllerClient) -> GitSessions:
        return GitSessions(
            controller=controller,
            turns=self.turns,
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
    """The bus that was passed in, which its owner closes, or one of our own.

    A builder that asks for its releases has one that nobody else is on: a controller that heard of a build would make
    a second release of it.
    """
    if settings.releases_by == "hook":
        if not settings.bus_url.startswith("memory:"):
            raise SettingsError("BUILDER_BUS_URL: is not used with BUILDER_RELEASES_BY=hook; leave it out")
        own: Bus = InProcessBus()
    elif bus is not None:
        return bus
    else:
        own = connect_bus(settings.bus_url)
    stack.push_async_callback(own.close)
    return own


def _auth_at_controller(settings: Settings, passport: httpx.AsyncClient) -> httpx.Auth:
    """The key of controllers that know builders by one, or tokens."""
    if settings.controller_key is not None:
        return BuilderKey(settings.controller_key)
    return ServiceTokens(
        client=passport,
        client_id=settings.client_id,
        client_secret=settings.client_secret,
        audience="controller",
        scopes=["controller:hook"],
    )


async def _controller(
    settings: Settings, auth: httpx.Auth, stack: AsyncExitStack
) -> tuple[AccountCache, ControllerClient]:
    client = await stack.enter_async_context(
        create_client(base_url=settings.controller_url, socket=settings.controller_socket, auth=auth)
    )
    controller = ControllerClient(client, timeout=settings.controller_timeout)
    accounts = AccountCache(controller.account)
    stack.push_async_callback(accounts.close)
    return accounts, controller


async def _release_calls(settings: Settings, auth: httpx.Auth, stack: AsyncExitStack) -> ReleaseCalls:
    """A client of its own: its connections are never used twice."""
    client = await stack.enter_async_context(
        create_client(base_url=settings.controller_url, socket=settings.controller_socket, auth=auth)
    )
    return ReleaseCalls(client, timeout=settings.controller_timeout, patience=settings.verdict_timeout)
