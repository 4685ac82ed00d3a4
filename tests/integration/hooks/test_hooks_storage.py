"""The database of the hooks service: migrations, leases, what is kept and what must not be there."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
import pytest_asyncio
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.ext.asyncio import create_async_engine

from hooks.background.tidy import Tidier
from hooks.domain.delivery import Delivery, Outcome, ReleaseFacts, Target
from hooks.repositories.deliveries import Deliveries
from hooks.schema import deliveries, inbox, metadata
from hooks.services.deliveries import DeliveryService
from integration.hooks.actors import Receiver, Start, as_time_goes
from shared.db import Database
from support import FakeClock, eventually
from support.logs import captured_log

FACTS = ReleaseFacts(app="shop", version=4, summary="mina deployed 35b3726", sha="35b3726", user="mina")
LEASE = timedelta(seconds=45)


@pytest_asyncio.fixture(loop_scope="session")
async def database(database_url: str) -> AsyncIterator[Database]:
    """The database of the service, used beside it."""
    database = Database(database_url)
    yield database
    await database.close()


@pytest.fixture
def log_output() -> Iterator[io.StringIO]:
    """Everything that is logged, down to DEBUG, of every library."""
    with captured_log("hooks", level="DEBUG") as output:
        yield output


async def _schedule(
    database: Database, clock: FakeClock, *, event_id: str = "e1", url: str = "http://receiver.test/hook"
) -> None:
    targets = [Target(url)]
    async with database.transaction() as session:
        service = DeliveryService(session, targets=targets, give_up_after=timedelta(days=1), clock=clock)
        await service.schedule(FACTS, event_id=event_id)


async def _cut_other_connections(database: Database) -> None:
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    async with database.session() as session:
        await session.execute(sa.text(f"{cut} AND pid <> pg_backend_pid()"))


async def _claim(database: Database, clock: FakeClock) -> list[Delivery]:
    async with database.transaction() as session:
        return await Deliveries(session).claim(now=clock.now(), lease=LEASE, limit=10)


async def test_migrations_make_the_tables_of_the_schema(database_url: str) -> None:
    engine = create_async_engine(database_url)
    async with engine.connect() as connection:

        def differences(sync: sa.Connection) -> list[object]:
            return list(compare_metadata(MigrationContext.configure(sync), metadata))

        assert await connection.run_sync(differences) == []
    await engine.dispose()


async def test_an_event_is_stored_once_for_each_receiver(database: Database, clock: FakeClock) -> None:
    await _schedule(database, clock)
    await _schedule(database, clock)
    await _schedule(database, clock, event_id="e2")
    assert len(await _claim(database, clock)) == 2


async def test_the_delivery_of_a_killed_sender_is_claimed_again_when_its_lease_ends(
    start: Start, receiver: Receiver, database: Database, clock: FakeClock
) -> None:
    await _schedule(database, clock, url=receiver.url)
    (lost,) = await _claim(database, clock)
    assert await _claim(database, clock) == []
    async with start(urls=[receiver.url]):

        async def received() -> bool:
            return bool(receiver.received)

        await as_time_goes(clock, timedelta(seconds=1), received)
    assert clock.now() >= (lost.leased_until or clock.now())
    assert receiver.received[0].headers["workflow-delivery"] == str(lost.id)


async def test_a_lost_database_connection_does_not_make_a_second_request(
    start: Start, receiver: Receiver, database: Database, clock: FakeClock
) -> None:
    receiver.hold = asyncio.Event()
    async with start(urls=[receiver.url]) as service:
        await service.release()
        await eventually(lambda: receiver.received)
        await _cut_other_connections(database)
        receiver.hold.set()

        async def delivered() -> bool:
            return [each["attempts"] for each in await service.deliveries(state="delivered")] == [1]

        await as_time_goes(clock, timedelta(seconds=1), delivered)
        await service.release(release=5)
        await eventually(lambda: len(receiver.received) == 2)


async def test_a_sender_that_overstayed_its_lease_changes_nothing(database: Database, clock: FakeClock) -> None:
    await _schedule(database, clock)
    (slow,) = await _claim(database, clock)
    clock.advance(LEASE)
    (quick,) = await _claim(database, clock)
    async with database.transaction() as session:
        await Deliveries(session).finish(quick, Outcome(status=200, error=None), now=clock.now())
        await Deliveries(session).put_off(slow, Outcome(status=500, error="answered 500"), until=clock.now())
        stored = await Deliveries(session).get_for_update(slow.id)
    assert (stored.state, stored.response_status) == ("delivered", 200)


async def test_old_records_are_forgotten_and_pending_ones_kept(database: Database, clock: FakeClock) -> None:
    await _schedule(database, clock, event_id="e1")
    (delivery,) = await _claim(database, clock)
    async with database.transaction() as session:
        await Deliveries(session).finish(delivery, Outcome(status=200, error=None), now=clock.now())
    await _schedule(database, clock, event_id="e2")
    tidier = Tidier(database, keep=timedelta(days=30), clock=clock)
    await tidier.tidy()
    clock.advance(timedelta(days=31))
    await tidier.tidy()
    async with database.session() as session:
        kept = (await session.execute(sa.select(deliveries.c.event_id))).scalars().all()
    assert kept == ["e2"]


async def test_no_secret_reaches_the_log_or_the_database(
    start: Start, receiver: Receiver, database: Database, clock: FakeClock, log_output: io.StringIO
) -> None:
    receiver.statuses.extend([500, 200])
    async with start(urls=[f"{receiver.url}?key=verysecret"], secret="my_secret_key") as service:
        await service.release()
        await eventually(lambda: "deploy_hook_put_off" in log_output.getvalue())

        async def sent_at_last() -> bool:
            return "deploy_hook_sent" in log_output.getvalue()

        await as_time_goes(clock, timedelta(seconds=10), sent_at_last)
    sent = {request.headers["authorization"] for request in receiver.received}
    async with database.session() as session:
        rows = [(await session.execute(sa.select(table))).all() for table in (deliveries, inbox)]
    for text in (log_output.getvalue(), repr(rows)):
        assert not [secret for secret in ("verysecret", "my_secret_key", *sent) if secret in text]
