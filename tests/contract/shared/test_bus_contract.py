"""What every bus promises; the same cases against the in-process bus and RabbitMQ."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import pytest
import pytest_asyncio

from shared.bus import Bus, InProcessBus, NotDeliveredError
from shared.bus.rabbit import RabbitBus
from support import eventually
from support.events import Gate, Recorder, created, deleted

QUICK = (timedelta(milliseconds=20), timedelta(milliseconds=40))


@pytest.fixture(params=["memory", "rabbitmq"])
def broker_url(request: pytest.FixtureRequest) -> str | None:
    return str(request.getfixturevalue("rabbitmq_url")) if request.param == "rabbitmq" else None


@pytest_asyncio.fixture
async def bus(broker_url: str | None) -> AsyncIterator[Bus]:
    made: Bus = RabbitBus(broker_url, retry_delays=QUICK) if broker_url else InProcessBus()
    yield made
    await made.close()


async def _publish_until_taken(bus: Bus, make: Callable[[], object], recorder: Recorder) -> None:
    """What the outbox does: publish again until nobody objects."""
    envelope = created()
    for _ in range(5):
        try:
            await bus.publish(envelope)
        except NotDeliveredError:
            continue
        break
    await eventually(lambda: envelope.id in recorder.ids)


async def test_each_consumer_gets_what_its_patterns_match(bus: Bus) -> None:
    every, new, none = Recorder(), Recorder(), Recorder()
    await bus.subscribe(consumer="t.every", patterns=["app.#"], handler=every)
    await bus.subscribe(consumer="t.new", patterns=["*.created", "build.started"], handler=new)
    await bus.subscribe(consumer="t.none", patterns=["app", "release.*"], handler=none)
    first, second = created(), deleted()
    await bus.publish(first)
    await bus.publish(second)
    await eventually(lambda: sorted(every.ids) == sorted([first.id, second.id]))
    await eventually(lambda: new.ids == [first.id])
    assert none.tried == []
    assert every.seen[0] == first


async def test_subscriptions_of_one_consumer_share_the_work(bus: Bus) -> None:
    left, right = Recorder(), Recorder()
    await bus.subscribe(consumer="t.pair", patterns=["app.*"], handler=left)
    await bus.subscribe(consumer="t.pair", patterns=["app.*"], handler=right)
    sent = [created() for _ in range(10)]
    for envelope in sent:
        await bus.publish(envelope)
    await eventually(lambda: len(left.ids) + len(right.ids) == 10)
    assert sorted(left.ids + right.ids) == sorted(envelope.id for envelope in sent)
    assert left.ids
    assert right.ids


async def test_prefetch_bounds_what_runs_at_once(bus: Bus) -> None:
    gate = Gate()
    await bus.subscribe(consumer="t.gate", patterns=["app.*"], handler=gate, prefetch=2)
    publishing = [asyncio.create_task(bus.publish(created())) for _ in range(6)]
    await eventually(lambda: gate.inside == 2)
    gate.opened.set()
    await asyncio.gather(*publishing)
    await eventually(lambda: len(gate.ids) == 6)
    assert gate.most == 2


async def test_a_failure_is_tried_again_and_others_are_not_held_up(bus: Bus) -> None:
    fine = Recorder()
    flaky = Recorder(fail=lambda _: len(flaky.tried) < 3)
    await bus.subscribe(consumer="t.fine", patterns=["app.*"], handler=fine)
    await bus.subscribe(consumer="t.flaky", patterns=["app.*"], handler=flaky)
    await _publish_until_taken(bus, created, flaky)
    assert len(flaky.tried) == 3
    assert fine.ids


async def test_publish_without_consumers_is_no_error(bus: Bus) -> None:
    await bus.publish(created())


async def test_ping_and_publish_after_close_say_so(bus: Bus) -> None:
    await bus.ping()
    await bus.close()
    with pytest.raises(NotDeliveredError):
        await bus.ping()
    with pytest.raises(NotDeliveredError):
        await bus.publish(created())


async def test_handlers_run_with_the_facts_of_their_event(bus: Bus) -> None:
    from structlog.contextvars import get_contextvars

    bound: list[dict[str, object]] = []

    async def handler(_envelope: object) -> None:
        bound.append(dict(get_contextvars()))

    await bus.subscribe(consumer="t.facts", patterns=["#"], handler=handler)
    envelope = created()
    await bus.publish(envelope)
    await eventually(lambda: bound)
    assert bound[0]["event_id"] == envelope.id
    assert bound[0]["consumer"] == "t.facts"
    assert "event_id" not in get_contextvars()
