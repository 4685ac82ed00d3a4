"""Outbox, relay and inbox on a real PostgreSQL."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
import pytest_asyncio
from sqlalchemy import func, select, text

from shared.bus import Bus, InProcessBus
from shared.clock import Clock, SystemClock
from shared.db import Database, is_database_away
from shared.events import AppCreated, AppDeleted, Envelope, Event
from shared.outbox import Inbox, Outbox, Relay
from shared.outbox.queue import OutboxQueue
from shared.outbox.relay import MAX_ATTEMPTS, retry_delay
from standalone.postgres import EmbeddedPostgres
from support import FakeClock, eventually
from support.events import SOURCE, Gate, Recorder
from support.fixtures import MakeDatabase
from support.sample_service import inbox, outbox
from support.tcp_proxy import LosingProxy, line_to_database


@pytest_asyncio.fixture
async def database(make_database: MakeDatabase) -> AsyncIterator[Database]:
    made = Database(await make_database("support.sample_service"))
    yield made
    await made.close()


async def _store(database: Database, *events: Event) -> None:
    async with database.transaction() as session:
        await Outbox(session, outbox, source=SOURCE).add(*events)


async def _count(database: Database, condition: str) -> int:
    async with database.session() as session:
        counted = await session.execute(select(func.count()).select_from(outbox).where(text(condition)))
        return counted.scalar_one()


@asynccontextmanager
async def _relaying(database: Database, bus: Bus, clock: Clock | None = None) -> AsyncIterator[Relay]:
    relay = Relay(database, outbox, bus, clock)
    task = asyncio.create_task(relay.run())
    try:
        yield relay
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _bus(handler: Recorder) -> InProcessBus:
    bus = InProcessBus()
    await bus.subscribe(consumer="t.outbox", patterns=["#"], handler=handler, prefetch=100)
    return bus


def _app(envelope: Envelope) -> str:
    event = envelope.unwrap()
    assert isinstance(event, AppCreated | AppDeleted)
    return event.app


async def test_events_leave_with_the_commit_and_only_then(database: Database) -> None:
    recorder = Recorder()
    async with _relaying(database, await _bus(recorder)):
        async with database.session() as session:
            await Outbox(session, outbox, source=SOURCE).add(AppCreated(app="lost", owner="mina"))
            await session.rollback()
        await _store(database, AppCreated(app="kept", owner="mina"))
        await eventually(lambda: [_app(envelope) for envelope in recorder.seen] == ["kept"])
        await eventually(lambda: _count(database, "published_at IS NOT NULL"))
    assert recorder.seen[0].source == SOURCE
    assert recorder.seen[0].subject == "apps/kept"


async def test_what_was_stored_before_the_relay_started_is_published(database: Database) -> None:
    await _store(database, AppCreated(app="early", owner="mina"))
    recorder = Recorder()
    async with _relaying(database, await _bus(recorder)):
        await eventually(lambda: recorder.seen)


async def test_order_is_kept_per_subject_among_several_relays(database: Database) -> None:
    recorder = Recorder()
    bus = await _bus(recorder)
    apps = [f"app{number}" for number in range(6)]
    async with _relaying(database, bus), _relaying(database, bus), _relaying(database, bus):
        for number in range(10):
            events = [AppCreated(app=app, owner=str(number)) for app in apps]
            await asyncio.gather(*(_store(database, event) for event in events))
        await eventually(lambda: len(recorder.seen) == 60, timeout=30)
    for app in apps:
        owners = [envelope.data["owner"] for envelope in recorder.seen if envelope.data["app"] == app]
        assert owners == [str(number) for number in range(10)]


async def test_a_subject_that_is_held_up_does_not_hold_up_others(database: Database) -> None:
    gate, recorder = Gate(), Recorder()

    async def handler(envelope: Envelope) -> None:
        await (gate if _app(envelope) == "slow" else recorder)(envelope)

    bus = InProcessBus()
    await bus.subscribe(consumer="t.slow", patterns=["#"], handler=handler)
    async with _relaying(database, bus):
        await _store(database, AppCreated(app="slow", owner="mina"), AppDeleted(app="slow", actor="mina"))
        await eventually(lambda: gate.inside == 1)
        await _store(database, AppCreated(app="quick", owner="mina"))
        await eventually(lambda: recorder.seen)
        assert gate.most == 1
        gate.opened.set()
        await eventually(lambda: [envelope.routing_key for envelope in gate.seen] == ["app.created", "app.deleted"])


async def test_a_failure_is_tried_again_later_and_the_error_is_kept_without_secrets(database: Database) -> None:
    clock = FakeClock()
    recorder = Recorder(fail=lambda _: len(recorder.tried) < 3)
    async with _relaying(database, await _bus(recorder), clock):
        await _store(database, AppCreated(app="shop", owner="mina"), AppDeleted(app="shop", actor="mina"))
        await eventually(lambda: _count(database, "attempts = 1 AND lease_owner IS NULL"))
        async with database.session() as session:
            error = (await session.execute(text("SELECT last_error FROM outbox WHERE attempts = 1"))).scalar_one()
        assert "no thanks" in error
        assert "hunter2" not in error
        assert len(recorder.tried) == 1
        while len(recorder.seen) < 2:
            clock.advance(timedelta(seconds=1))
            await asyncio.sleep(0.01)
    assert [envelope.routing_key for envelope in recorder.seen] == ["app.created", "app.deleted"]


async def test_a_hopeless_event_is_parked_and_later_ones_go_on(database: Database) -> None:
    clock = FakeClock()
    recorder = Recorder(fail=lambda envelope: envelope.routing_key == "app.created" and len(recorder.tried) <= 20)
    async with _relaying(database, await _bus(recorder), clock) as relay:
        await _store(database, AppCreated(app="shop", owner="mina"), AppDeleted(app="shop", actor="mina"))
        while not await _count(database, "dead_at IS NOT NULL"):
            clock.advance(timedelta(minutes=1))
            await asyncio.sleep(0.01)
        await eventually(lambda: [envelope.routing_key for envelope in recorder.seen] == ["app.deleted"])
        assert len(recorder.tried) == MAX_ATTEMPTS + 1
        assert await relay.replay_dead() == 1
        await eventually(lambda: len(recorder.seen) == 2)
        assert await relay.replay_dead() == 0


async def test_a_relay_that_is_stopped_leaves_its_events_to_the_next(database: Database) -> None:
    gate = Gate()
    async with _relaying(database, await _bus(gate)):
        await _store(database, AppCreated(app="shop", owner="mina"))
        await eventually(lambda: gate.inside == 1)
    assert await _count(database, "published_at IS NULL AND lease_owner IS NULL") == 1
    recorder = Recorder()
    async with _relaying(database, await _bus(recorder)):
        await eventually(lambda: recorder.seen)


async def test_a_relay_that_vanished_is_followed_when_its_lease_ends(database: Database) -> None:
    await _store(database, AppCreated(app="shop", owner="mina"))
    recorder = Recorder()
    async with database.transaction() as session:
        lease = "lease_owner = gen_random_uuid(), leased_until = now() + interval '1 hour'"
        await session.execute(text(f"UPDATE outbox SET {lease}"))
    clock = FakeClock()
    async with _relaying(database, await _bus(recorder), clock):
        await eventually(lambda: clock.sleepers >= 2)
        assert recorder.tried == []
        async with database.transaction() as session:
            await session.execute(text("UPDATE outbox SET leased_until = now() - interval '1 second'"))
        clock.advance(timedelta(seconds=5))
        await eventually(lambda: recorder.seen)


async def test_lost_connections_are_replaced(database: Database, postgres: EmbeddedPostgres) -> None:
    recorder = Recorder(fail=lambda _: len(recorder.tried) == 1)
    outside = Database(postgres.url("postgres"))
    kill = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = :name"
    try:
        async with _relaying(database, await _bus(recorder)):
            await _store(database, AppCreated(app="before", owner="mina"))
            await eventually(lambda: recorder.seen)
            async with database.session() as session:
                name = (await session.execute(text("SELECT current_database()"))).scalar_one()
            async with outside.session() as session:
                await session.execute(text(kill), {"name": name})
            await eventually(lambda: _stored(database, AppCreated(app="after", owner="mina")))
            await eventually(lambda: [_app(envelope) for envelope in recorder.seen] == ["before", "after"])
    finally:
        await outside.close()


async def _stored(database: Database, event: Event) -> bool:
    try:
        await _store(database, event)
    except Exception as exc:
        if not is_database_away(exc):
            raise
        return False
    return True


async def test_a_claim_whose_answer_was_lost_holds_nothing_up(make_database: MakeDatabase) -> None:
    url, recorder = await make_database("support.sample_service"), Recorder()
    near = Database(url)
    async with line_to_database(url, LosingProxy) as (line, over_it):
        far = Database(over_it)
        await _store(near, AppCreated(app="shop", owner="mina"), AppDeleted(app="shop", actor="mina"))
        line.loses = b"WITH RECURSIVE heads"
        async with _relaying(far, await _bus(recorder)):
            await eventually(lambda: line.losing and line.losing.done())
            async with near.transaction() as session:  # as if it had only just been claimed, for long
                lasting = "UPDATE outbox SET leased_until = leased_until + interval '1 hour' RETURNING seq"
                assert len((await session.execute(text(lasting))).all()) == 2
            assert await _count(near, "leased_until > clock_timestamp()") == 1
            await line.open()
            await eventually(lambda: len(recorder.seen) == 2)
        await far.close()
    await near.close()


async def test_what_is_in_the_works_is_not_claimed_again(database: Database) -> None:
    await _store(database, AppCreated(app="shop", owner="mina"), AppDeleted(app="shop", actor="mina"))
    queue = OutboxQueue(database, outbox, owner=uuid4())
    now = SystemClock().now()
    (claimed,) = await queue.claim(now=now, limit=9)
    assert await queue.claim(now=now, limit=9, busy=[claimed.seq]) == []
    assert await OutboxQueue(database, outbox, owner=uuid4()).claim(now=now, limit=9) == []
    assert await queue.claim(now=now, limit=9) == [claimed]


async def test_a_paused_bus_holds_events_until_everyone_has_subscribed(database: Database) -> None:
    bus = InProcessBus(paused=True)
    await _store(database, AppCreated(app="shop", owner="mina"))
    recorder = Recorder()
    async with _relaying(database, bus):
        await eventually(lambda: _count(database, "lease_owner IS NOT NULL"))
        await bus.subscribe(consumer="t.late", patterns=["#"], handler=recorder)
        bus.resume()
        await eventually(lambda: recorder.seen)


async def test_old_rows_are_deleted(database: Database) -> None:
    await _store(database, AppCreated(app="old", owner="mina"), AppCreated(app="dead", owner="mina"))
    async with database.transaction() as session:
        await session.execute(text("UPDATE outbox SET published_at = now() - interval '2 days' WHERE seq = 1"))
        await session.execute(text("UPDATE outbox SET dead_at = now() - interval '2 days' WHERE seq = 2"))
        await Inbox(session, inbox).first_time("t", "old")
        await session.execute(text("UPDATE inbox SET received_at = now() - interval '40 days'"))
    clock = FakeClock()
    async with _relaying(database, InProcessBus(), clock):
        await eventually(lambda: clock.sleepers)
        clock.advance(timedelta(minutes=1))
        await eventually(lambda: _is_tidy(database))
    assert await _count(database, "dead_at IS NOT NULL") == 1


async def _is_tidy(database: Database) -> bool:
    async with database.session() as session:
        left = (await session.execute(select(func.count()).select_from(inbox))).scalar_one()
    return left == 0 and await _count(database, "published_at IS NOT NULL") == 0


async def test_a_second_delivery_is_noticed_even_at_the_same_time(database: Database) -> None:
    async def handle() -> bool:
        async with database.transaction() as session:
            return await Inbox(session, inbox).first_time("t.consumer", "event-1")

    assert sorted(await asyncio.gather(*(handle() for _ in range(5)))) == [False, False, False, False, True]
    async with database.transaction() as session:
        assert await Inbox(session, inbox).first_time("t.other", "event-1")


async def test_a_rolled_back_delivery_counts_as_none(database: Database) -> None:
    async with database.session() as session:
        assert await Inbox(session, inbox).first_time("t.consumer", "event-1")
        await session.rollback()
        assert await Inbox(session, inbox).first_time("t.consumer", "event-1")


@pytest.mark.parametrize(("attempts", "seconds"), [(1, 0.1), (2, 0.2), (5, 1.6), (10, 51.2), (11, 60), (20, 60)])
def test_delays_grow_to_a_minute(attempts: int, seconds: float) -> None:
    assert retry_delay(attempts) == timedelta(seconds=seconds)
