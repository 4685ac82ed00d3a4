"""What only RabbitMQ does: durable queues, dead letters, restarts of the broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aio_pika
import pytest
import pytest_asyncio
from aio_pika import RobustConnection

from shared.bus import NotDeliveredError
from shared.bus.rabbit import RabbitBus
from shared.bus.rabbit_queues import ERROR_HEADER, EXCHANGE
from support import eventually, free_port
from support.broker import Broker
from support.events import Gate, Recorder, created

QUICK = (timedelta(milliseconds=20), timedelta(milliseconds=40))


@pytest_asyncio.fixture
async def bus(rabbitmq_url: str) -> AsyncIterator[RabbitBus]:
    made = RabbitBus(rabbitmq_url, retry_delays=QUICK)
    yield made
    await made.close()


async def _dead(url: str, consumer: str) -> aio_pika.abc.AbstractIncomingMessage | None:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue(f"{consumer}.dead")
        message = await queue.get(fail=False)
        if message is not None:
            await message.nack(requeue=True)
        return message


async def test_events_wait_for_a_consumer_that_is_away(bus: RabbitBus, rabbitmq_url: str) -> None:
    first = RabbitBus(rabbitmq_url)
    await first.subscribe(consumer="t.away", patterns=["app.*"], handler=Recorder())
    await first.close()
    envelope = created()
    await bus.publish(envelope)
    recorder = Recorder()
    await bus.subscribe(consumer="t.away", patterns=["app.*"], handler=recorder)
    await eventually(lambda: recorder.ids == [envelope.id])


async def test_an_event_that_keeps_failing_is_parked_and_can_be_replayed(bus: RabbitBus, rabbitmq_url: str) -> None:
    stubborn = Recorder(fail=lambda _: len(stubborn.tried) <= 3)
    await bus.subscribe(consumer="t.dead", patterns=["app.*"], handler=stubborn)
    envelope = created()
    await bus.publish(envelope)
    message = await eventually(lambda: _dead(rabbitmq_url, "t.dead"))
    assert message is not None
    assert message.message_id == envelope.id
    assert "no thanks" in str(message.headers[ERROR_HEADER])
    assert "hunter2" not in str(message.headers)
    assert len(stubborn.tried) == 3
    assert await bus.replay_dead("t.dead") == 1
    await eventually(lambda: stubborn.ids == [envelope.id])
    assert await bus.replay_dead("t.dead") == 0


async def test_what_is_no_event_is_parked_at_once(bus: RabbitBus, rabbitmq_url: str) -> None:
    recorder = Recorder()
    await bus.subscribe(consumer="t.junk", patterns=["app.*"], handler=recorder)
    async with await aio_pika.connect(rabbitmq_url) as connection:
        channel = await connection.channel()
        exchange = await channel.get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(b"{}"), "app.created")
    await eventually(lambda: _dead(rabbitmq_url, "t.junk"))
    assert recorder.tried == []


async def test_an_older_binding_brings_nothing_to_the_handler(bus: RabbitBus, rabbitmq_url: str) -> None:
    older = RabbitBus(rabbitmq_url)
    await older.subscribe(consumer="t.bound", patterns=["app.created"], handler=Recorder())
    await older.close()
    recorder, witness = Recorder(), Recorder()
    await bus.subscribe(consumer="t.bound", patterns=["app.deleted"], handler=recorder)
    await bus.subscribe(consumer="t.witness", patterns=["app.created"], handler=witness)
    await bus.publish(created())
    await eventually(lambda: witness.seen)
    assert recorder.tried == []


async def test_close_lets_running_handlers_finish(rabbitmq_url: str) -> None:
    bus = RabbitBus(rabbitmq_url)
    gate = Gate()
    await bus.subscribe(consumer="t.drain", patterns=["app.*"], handler=gate)
    await bus.publish(created())
    await eventually(lambda: gate.inside == 1)
    closing = asyncio.create_task(bus.close())
    gate.opened.set()
    await closing
    assert len(gate.seen) == 1


async def test_a_restart_of_the_broker_is_survived(bus: RabbitBus, rabbitmq: Broker) -> None:
    recorder = Recorder()
    await bus.subscribe(consumer="t.restart", patterns=["app.*"], handler=recorder)
    await bus.publish(created("before"))
    await eventually(lambda: len(recorder.seen) == 1)
    await rabbitmq.stop()
    envelope = created("after")
    try:
        with pytest.raises(NotDeliveredError):
            await bus.publish(envelope)
    finally:
        await rabbitmq.start()

    async def published() -> bool:
        try:
            await bus.publish(envelope)
        except NotDeliveredError:
            return False
        return True

    await eventually(published, timeout=30)
    await eventually(lambda: envelope.id in recorder.ids, timeout=30)


async def test_a_broker_that_is_not_there_is_an_error_to_publish_only() -> None:
    bus = RabbitBus(f"amqp://guest:hunter2@127.0.0.1:{free_port()}/")
    try:
        with pytest.raises(NotDeliveredError) as caught:
            await bus.publish(created())
        assert "hunter2" not in str(caught.value)
        await bus.subscribe(consumer="t.later", patterns=["#"], handler=Recorder())
    finally:
        await bus.close()


async def test_an_attempt_to_connect_that_failed_leaves_nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    bus = RabbitBus(f"amqp://guest@127.0.0.1:{port}/")
    made: list[RobustConnection] = []

    def watch(connection: RobustConnection, *arguments: Any, **options: Any) -> None:
        made.append(connection)
        original(connection, *arguments, **options)

    original = RobustConnection.__init__
    monkeypatch.setattr(RobustConnection, "__init__", watch)
    with pytest.raises(NotDeliveredError):
        await bus.ping()
    assert [connection.is_closed for connection in made] == [True]
