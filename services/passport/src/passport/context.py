"""The singletons of the process, made and ended by the lifespan of the application or by a command."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from passport.background.janitor import Janitor
from passport.domain.secrets import Sealer
from passport.schema import outbox
from passport.services.accounts import AccountService
from passport.services.bootstrap import Bootstrap
from passport.services.keys import KeyStore
from passport.services.logins import Logins
from passport.services.oauth.issuing import Policy
from passport.services.oauth.provider import Provider
from passport.services.passwords import Passwords
from passport.services.setup import prepare
from passport.services.throttle import Throttle
from passport.settings import Settings
from shared.bus import Bus, connect_bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.outbox import Relay
from shared.tasks import TaskOwner


@dataclass(frozen=True)
class Context:
    """What requests and commands need."""

    settings: Settings
    database: Database
    clock: Clock
    sealer: Sealer
    keys: KeyStore
    accounts: AccountService
    bootstrap: Bootstrap
    logins: Logins
    provider: Provider


@asynccontextmanager
async def open_context(settings: Settings, *, clock: Clock | None = None) -> AsyncIterator[Context]:
    """Everything but the background; nothing connects before it is used.

    Raises:
        SettingsError: there is no database URL.
    """
    clock = clock or SystemClock()
    passwords = Passwords()
    database = Database(settings.require_database_url(), pool_size=settings.database_pool_size)
    try:
        yield _wire(settings, database, passwords, clock)
    finally:
        passwords.close()
        await database.close()


@asynccontextmanager
async def open_service(
    settings: Settings, *, bus: Bus | None = None, clock: Clock | None = None
) -> AsyncIterator[Context]:
    """The context of the running service: set up, with relay and janitor. A bus that is handed in stays open.

    Raises:
        SettingsError: there is no database URL.
        EncryptionKeyError: the signing keys in the database cannot be decrypted.
    """
    async with AsyncExitStack() as stack:
        context = await stack.enter_async_context(open_context(settings, clock=clock))
        if bus is None:
            bus = connect_bus(settings.bus_url)
            stack.push_async_callback(bus.close)
        await prepare(
            settings,
            database=context.database,
            keys=context.keys,
            accounts=context.accounts,
            bootstrap=context.bootstrap,
            clock=context.clock,
        )
        tasks = await stack.enter_async_context(TaskOwner())
        tasks.start("passport.relay", Relay(context.database, outbox, bus, context.clock).run)
        tasks.start("passport.janitor", Janitor(context.database, keys=context.keys, clock=context.clock).run)
        yield context


def _wire(settings: Settings, database: Database, passwords: Passwords, clock: Clock) -> Context:
    sealer = Sealer(settings.encryption_keys[0].get_secret_value().encode())
    keys = KeyStore(
        database,
        encryption_keys=settings.encryption_keys,
        token_lifetime=max(settings.access_token_lifetime, settings.id_token_lifetime),
        clock=clock,
    )
    throttle = Throttle(
        database, account=settings.account_limit, address=settings.address_limit, sealer=sealer, clock=clock
    )
    logins = Logins(
        database, passwords=passwords, throttle=throttle, session_lifetime=settings.session_lifetime, clock=clock
    )
    accounts = AccountService(database, passwords=passwords, clock=clock)
    bootstrap = Bootstrap(
        database,
        accounts=accounts,
        is_wanted=settings.admin_username is None,
        registration_url=settings.registration_url,
        clock=clock,
    )
    policy = Policy(
        issuer=settings.issuer,
        access_token=settings.access_token_lifetime,
        id_token=settings.id_token_lifetime,
        code=settings.code_lifetime,
        refresh_token=settings.refresh_token_lifetime,
        authorization=settings.authorization_lifetime,
    )
    return Context(
        settings=settings,
        database=database,
        clock=clock,
        sealer=sealer,
        keys=keys,
        accounts=accounts,
        bootstrap=bootstrap,
        logins=logins,
        provider=Provider(database, keys=keys, logins=logins, policy=policy, clock=clock),
    )
