"""The singletons of the process: made and ended by the lifespan, used by API, consumer and sender."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from hooks.background.attempt import Poster
from hooks.background.consumer import ReleaseConsumer
from hooks.background.sender import Sender
from hooks.background.tidy import Tidier
from hooks.services.deliveries import DeliveryService
from hooks.settings import Settings
from shared.auth import TokenVerifier
from shared.bus import Bus, connect_bus
from shared.clock import Clock, SystemClock
from shared.db import Database
from shared.http import create_client
from shared.settings import SettingsError
from shared.tasks import TaskOwner

AUDIENCE = "hooks"


@dataclass(frozen=True)
class Context:
    """What the requests need."""

    settings: Settings
    database: Database
    bus: Bus
    verifier: TokenVerifier
    clock: Clock

    def delivery_service(self, session: AsyncSession) -> DeliveryService:
        """The use cases within the transaction of `session`."""
        return DeliveryService(
            session,
            targets=self.settings.targets,
            give_up_after=timedelta(seconds=self.settings.give_up_after_seconds),
            clock=self.clock,
        )


@asynccontextmanager
async def open_context(settings: Settings, *, bus: Bus | None, clock: Clock | None) -> AsyncIterator[Context]:
    """Connect, run consumer and sender, and end all of it in the opposite order.

    A bus that the caller hands in is the caller's to close.

    Raises:
        SettingsError: there is no database URL.
    """
    if settings.database_url is None:
        raise SettingsError("HOOKS_DATABASE_URL: is required; set it to the URL of the database `hooks`")
    clock = clock or SystemClock()
    async with AsyncExitStack() as stack:
        database = Database(settings.database_url, pool_size=settings.database_pool_size)
        stack.push_async_callback(database.close)
        passport = create_client(base_url=settings.passport_url, socket=settings.passport_socket)
        await stack.enter_async_context(passport)
        verifier = TokenVerifier(issuer=settings.issuer, audience=AUDIENCE, client=passport)
        poster = await stack.enter_async_context(
            Poster(
                secret=settings.secret,
                connect_timeout_seconds=settings.connect_timeout_seconds,
                timeout_seconds=settings.timeout_seconds,
                clock=clock,
            )
        )
        tasks = await stack.enter_async_context(TaskOwner())
        if bus is None:
            bus = connect_bus(settings.bus_url)
            stack.push_async_callback(bus.close)
        context = Context(settings=settings, database=database, bus=bus, verifier=verifier, clock=clock)
        sender = Sender(
            database,
            poster,
            targets=settings.targets,
            timeout=timedelta(seconds=settings.timeout_seconds),
            concurrency=settings.concurrency,
            clock=clock,
        )
        tidier = Tidier(database, keep=timedelta(days=settings.keep_days), clock=clock)
        tasks.start("hooks.sender", sender.run)
        tasks.start("hooks.tidier", tidier.run)
        await ReleaseConsumer(database, context.delivery_service).subscribe(bus)
        yield context
