"""The singletons of a controller process, and the unit of work that they make."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from controller.brokers import make_broker
from controller.domain.domains import platform_hosts
from controller.domain.resources import ResourceBroker
from controller.engine.port import Engine
from controller.manager_client import DEADLINE_SECONDS as MANAGER_TIMEOUT_SECONDS
from controller.manager_client import Manager
from controller.metrics_client import Prometheus
from controller.passport_client import PassportClient
from controller.repositories.cipher import Cipher
from controller.schema.base import INBOX, OUTBOX
from controller.services.authentication import Authenticator
from controller.services.id_tokens import IdTokens
from controller.services.login import Logins
from controller.settings import Settings, read_limits, read_metrics_config
from controller.uow import EVENT_SOURCE, EverybodyActive, Policy, Standing, Uow
from shared.auth import TokenVerifier
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.db import Database, DbSession
from shared.http import create_client
from shared.logging import get_logger
from shared.outbox import Inbox, Outbox

AUDIENCE: Final = "controller"
PASSPORT_TIMEOUT_SECONDS: Final = 5.0

log = get_logger(__name__)


@dataclass(frozen=True)
class UnitsOfWork:
    """Makes units of work; what they are made of lives as long as the process."""

    database: Database
    engine: Engine
    clock: Clock
    cipher: Cipher
    policy: Policy
    standing: Standing = field(default_factory=EverybodyActive)

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Uow]:
        """One transaction: committed at the end of the block, rolled back on any exception."""
        async with self.database.transaction() as session:
            yield self.around(session)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Uow]:
        """For queries alone, without a transaction."""
        async with self.database.reading() as session:
            yield self.around(session)

    def around(self, session: DbSession) -> Uow:
        """The unit of work in a transaction that somebody else ends."""
        return Uow(
            session=session,
            outbox=Outbox(session, OUTBOX, source=EVENT_SOURCE),
            inbox=Inbox(session, INBOX),
            clock=self.clock,
            engine=self.engine,
            cipher=self.cipher,
            policy=self.policy,
            standing=self.standing,
        )


@dataclass(frozen=True)
class Context:
    """Everything that the API and the worker share."""

    settings: Settings
    database: Database
    engine: Engine
    bus: Bus
    clock: Clock
    unit_of_work: UnitsOfWork
    passport: PassportClient
    authenticator: Authenticator
    logins: Logins
    manager: Manager | None
    metrics: Prometheus | None
    broker: ResourceBroker


@asynccontextmanager
async def open_context(
    settings: Settings, *, bus: Bus, engine: Engine, clock: Clock | None = None
) -> AsyncIterator[Context]:
    """The context of a process, closed at the end of the block; `bus` and `engine` stay the caller's to close.

    Raises:
        SettingsError: there is no database URL.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        database = Database(settings.require_database_url(), pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        manager = await _manager(settings, clock, stack)
        standing = manager or EverybodyActive()
        units = UnitsOfWork(database, engine, clock, _cipher(settings), policy_of(settings), standing)
        client = create_client(
            base_url=settings.passport_url, socket=settings.passport_socket, timeout=PASSPORT_TIMEOUT_SECONDS
        )
        await stack.enter_async_context(client)
        passport = PassportClient(
            client,
            issuer=settings.issuer,
            client_id=settings.passport_client_id,
            client_secret=settings.passport_client_secret,
        )
        authenticator = Authenticator(
            unit_of_work=units,
            database=database,
            passport=passport,
            verifier=TokenVerifier(issuer=settings.issuer, audience=AUDIENCE, client=client),
            clock=clock,
        )
        stack.push_async_callback(authenticator.close)
        logins = Logins(
            unit_of_work=units,
            passport=passport,
            id_tokens=IdTokens(client, issuer=settings.issuer, client_id=settings.passport_client_id),
            public_url=settings.public_url,
            lifetime=settings.login_lifetime,
            allow_passwords=settings.allow_password_login,
        )
        metrics = _metrics(settings, clock, stack)
        _tell_what_has_no_effect(settings, engine)
        yield Context(
            settings=settings,
            database=database,
            engine=engine,
            bus=bus,
            clock=clock,
            unit_of_work=units,
            passport=passport,
            authenticator=authenticator,
            logins=logins,
            manager=manager,
            metrics=metrics,
            broker=make_broker(settings.broker),
        )


def policy_of(settings: Settings) -> Policy:
    """The operator's choices that the use cases need."""
    return Policy(
        reserved_names=frozenset(settings.reserved_names),
        deploy_timeout=settings.deploy_timeout,
        pipeline_run_timeout=settings.pipeline_run_timeout,
        grace_period=settings.grace_period,
        max_job_ttl=settings.max_job_ttl,
        max_jobs=settings.max_jobs,
        max_replicas=settings.max_replicas,
        min_volume_gib=settings.min_volume_gib,
        max_volume_gib=settings.max_volume_gib,
        catalog=read_limits(settings.limits_file),
        app_domain=settings.app_domain,
        app_url_template=settings.app_url_template,
        platform_hosts=platform_hosts(settings.public_url, settings.issuer),
        cluster_domain=settings.cluster_domain,
        default_tags=settings.default_config_tags,
        quota=settings.namespace_default_quota_spec,
        reject_missing_procfile=settings.deploy_reject_if_procfile_missing,
        remove_missing_procfile=settings.deploy_procfile_missing_remove,
        releases_kept=settings.releases_kept or None,
    )


async def _manager(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Manager | None:
    access, secret = settings.manager_access_key, settings.manager_secret_key
    if settings.manager_url is None or access is None or secret is None:
        return None
    client = create_client(base_url=settings.manager_url, timeout=MANAGER_TIMEOUT_SECONDS)
    await stack.enter_async_context(client)
    manager = Manager(client, access_key=access, secret_key=secret, clock=clock)
    stack.push_async_callback(manager.close)
    return manager


def _cipher(settings: Settings) -> Cipher:
    keys = [key.get_secret_value() for key in settings.encryption_keys]
    return Cipher(keys, file=settings.encryption_keys_file)


def _metrics(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Prometheus | None:
    if settings.prometheus_url is None:
        return None
    prometheus = Prometheus(
        settings.prometheus_url,
        config=read_metrics_config(settings.metrics_config_path),
        interval=settings.metrics_interval,
        expiry_seconds=settings.metrics_expiry.total_seconds(),
        clock=clock,
    )
    stack.push_async_callback(prometheus.close)
    return prometheus


def _tell_what_has_no_effect(settings: Settings, engine: Engine) -> None:
    """Operators' defaults are no reason to refuse what users ask for, but nobody is to believe that they work."""
    for feature, name in (("tags", "default_config_tags"), ("quota", "namespace_default_quota_spec")):
        if getattr(settings, name) and feature not in engine.features:
            log.warning("setting_has_no_effect", setting=f"CONTROLLER_{name.upper()}", engine=settings.engine)
