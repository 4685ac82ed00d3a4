"""The singletons of a controller process, and the unit of work that they make."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Final

from sqlalchemy.ext.asyncio import AsyncSession

from controller.engine.port import Engine
from controller.passport_client import PassportClient
from controller.repositories.cipher import Cipher
from controller.schema.base import INBOX, OUTBOX
from controller.services.authentication import Authenticator
from controller.services.id_tokens import IdTokens
from controller.services.login import Logins
from controller.settings import Settings
from controller.uow import EVENT_SOURCE, Policy, Uow
from shared.auth import TokenVerifier
from shared.bus import Bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.http import create_client
from shared.outbox import Inbox, Outbox

AUDIENCE: Final = "controller"
PASSPORT_TIMEOUT_SECONDS: Final = 5.0


@dataclass(frozen=True)
class UnitsOfWork:
    """Makes units of work; what they are made of lives as long as the process."""

    database: Database
    engine: Engine
    clock: Clock
    cipher: Cipher
    policy: Policy

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[Uow]:
        """One transaction: committed at the end of the block, rolled back on any exception."""
        async with self.database.transaction() as session:
            yield self.around(session)

    def around(self, session: AsyncSession) -> Uow:
        """The unit of work in a transaction that somebody else ends."""
        return Uow(
            session=session,
            outbox=Outbox(session, OUTBOX, source=EVENT_SOURCE),
            inbox=Inbox(session, INBOX),
            clock=self.clock,
            engine=self.engine,
            cipher=self.cipher,
            policy=self.policy,
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


@asynccontextmanager
async def open_context(
    settings: Settings, *, bus: Bus, engine: Engine, clock: Clock | None = None
) -> AsyncIterator[Context]:
    """The context of a process, closed at the end of the block; `bus` and `engine` stay the caller's to close.

    Raises:
        ValueError: there is no database URL.
    """
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        database = Database(settings.require_database_url(), pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        units = UnitsOfWork(database, engine, clock, _cipher(settings), policy_of(settings))
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
        yield Context(settings, database, engine, bus, clock, units, passport, authenticator, logins)


def policy_of(settings: Settings) -> Policy:
    """The operator's choices that the use cases need."""
    return Policy(
        reserved_names=frozenset(settings.reserved_names),
        deploy_timeout=settings.deploy_timeout,
        pipeline_run_timeout=settings.pipeline_run_timeout,
        grace_period=settings.grace_period,
        max_job_ttl=settings.max_job_ttl,
        max_replicas=settings.max_replicas,
        app_domain=settings.app_domain,
        app_url_template=settings.app_url_template,
    )


def _cipher(settings: Settings) -> Cipher:
    return Cipher([key.get_secret_value() for key in settings.encryption_keys])
