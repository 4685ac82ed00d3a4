"""Events, identifiers, patterns, clocks, background tasks."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.bus import InProcessBus, NotDeliveredError, connect_bus, matches
from shared.bus.rabbit import RabbitBus
from shared.clock import SystemClock
from shared.db import uuid7
from shared.errors import (
    ConflictError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    SuiteError,
    UnauthenticatedError,
    UnavailableError,
)
from shared.events import (
    BuildSucceeded,
    Envelope,
    ReleaseDeployed,
    UnknownEventError,
    UserChanged,
    registered_events,
)
from shared.logging import bind_context, clear_context
from shared.problem import problem
from shared.settings import SettingsError
from shared.tasks import TaskOwner
from support import FakeClock, eventually
from support.events import Recorder, created


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (InvalidInputError, 400),
        (UnauthenticatedError, 401),
        (ForbiddenError, 403),
        (NotFoundError, 404),
        (ConflictError, 409),
        (UnavailableError, 503),
        (SuiteError, 500),
    ],
)
def test_errors_become_problems_with_their_facts(kind: type[SuiteError], status: int) -> None:
    document = problem(kind("why", field="id", app="shop"), instance=None)
    assert document["status"] == status
    assert (document["detail"], document["field"], document["app"]) == ("why", "id", "shop")
    assert str(kind("why")) == "why"
    assert "instance" not in document


def test_an_envelope_is_a_cloudevent_and_comes_back_the_same() -> None:
    build_id = uuid4()
    event = BuildSucceeded(
        app="shop",
        build_id=build_id,
        number=3,
        actor="mina",
        sha="abc",
        branch="main",
        image=f"workspace/shop:{build_id}",
        stack="python",
        procfile={"web": "./run"},
    )
    bind_context(request_id="abc-1")
    try:
        envelope = Envelope.wrap(event, source="/services/builder")
    finally:
        clear_context()
    wire = json.loads(envelope.to_bytes())
    assert wire["specversion"] == "1.0"
    assert wire["type"] == "workflow.build.succeeded.v1"
    assert wire["subject"] == "apps/shop"
    assert wire["requestid"] == "abc-1"
    assert wire["data"]["build_id"] == str(build_id)
    assert "traceparent" not in wire
    back = Envelope.from_bytes(envelope.to_bytes())
    assert back == envelope
    assert back.unwrap() == event
    assert back.routing_key == "build.succeeded"


def test_the_catalogue_is_complete() -> None:
    assert {event.type for event in registered_events()} >= {
        *("build.requested", "build.started", "build.succeeded", "build.failed", "build.cancelled"),
        *("release.created", "release.rejected", "release.progress", "release.deployed", "release.failed"),
        *("app.created", "app.deleted", "user.changed"),
    }


def test_fields_of_a_later_version_are_ignored() -> None:
    envelope = Envelope.wrap(ReleaseDeployed(app="shop", version=2, sha="", actor="a", summary="s"), source="/x")
    later = envelope.model_copy(update={"data": envelope.data | {"mood": "fine"}})
    event = later.unwrap()
    assert isinstance(event, ReleaseDeployed)
    assert event.version == 2


@pytest.mark.parametrize(
    "change",
    [{"type": "workflow.release.exploded.v1"}, {"type": "workflow.app.created.v2"}, {"data": {"app": "shop"}}],
)
def test_unreadable_events_say_so(change: dict[str, object]) -> None:
    with pytest.raises(UnknownEventError):
        created().model_copy(update=change).unwrap()


@pytest.mark.parametrize("body", [b"", b"{}", b"not json", b'{"specversion": "0.3"}', b"\xff"])
def test_what_is_no_cloudevent_is_refused(body: bytes) -> None:
    with pytest.raises(UnknownEventError):
        Envelope.from_bytes(body)


def test_a_user_event_is_about_its_user() -> None:
    user = UserChanged(user_id=7, username="mina", email="m@x", is_active=True, is_staff=False, is_superuser=False)
    assert user.subject() == "users/7"


def test_uuid7_is_ordered_and_carries_the_time() -> None:
    before = datetime.now(UTC)
    made = [uuid7() for _ in range(5000)]
    assert made == sorted(made)
    assert len(set(made)) == 5000
    assert {(each.version, each.variant) for each in made} == {(7, "specified in RFC 4122")}
    stamp = datetime.fromtimestamp((made[0].int >> 80) / 1000, UTC)
    assert abs(stamp - before) < timedelta(seconds=5)


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("app.created", "app.created", True),
        ("app.created", "app.deleted", False),
        ("app.*", "app.created", True),
        ("app.*", "app", False),
        ("app.*", "app.a.b", False),
        ("*.*", "app.created", True),
        ("#", "app.created", True),
        ("#", "", True),
        ("app.#", "app", True),
        ("app.#", "app.a.b", True),
        ("#.created", "app.created", True),
        ("#.b.#", "a.b.c", True),
        ("#.b.#", "a.c", False),
    ],
)
def test_topic_patterns(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=6))
def test_hash_and_the_key_itself_always_match(words: list[str]) -> None:
    key = ".".join(words)
    assert matches("#", key)
    assert matches(key, key)
    assert matches(".".join("*" for _ in words), key)
    assert not matches(".".join([*words, "*"]), key)


async def test_publish_tells_which_consumer_failed_after_all_were_tried() -> None:
    bus = InProcessBus()
    bad, good = Recorder(fail=lambda _: True), Recorder()
    await bus.subscribe(consumer="t.bad", patterns=["#"], handler=bad)
    await bus.subscribe(consumer="t.good", patterns=["#"], handler=good)
    with pytest.raises(NotDeliveredError, match=r"t\.bad: RuntimeError") as caught:
        await bus.publish(created())
    assert good.seen
    assert "hunter2" not in str(caught.value)


async def test_a_cancelled_publish_cancels_its_handlers() -> None:
    bus = InProcessBus()
    started, cancelled = asyncio.Event(), asyncio.Event()

    async def handler(_envelope: Envelope) -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    await bus.subscribe(consumer="t.slow", patterns=["#"], handler=handler)
    task = asyncio.create_task(bus.publish(created()))
    await started.wait()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        await cancelled.wait()


async def test_the_bus_is_chosen_by_its_url() -> None:
    assert isinstance(connect_bus("memory://"), InProcessBus)
    assert isinstance(connect_bus("amqp://guest:guest@localhost/"), RabbitBus)
    with pytest.raises(SettingsError, match="'kafka' is unknown"):
        connect_bus("kafka://localhost")


async def test_a_loop_that_dies_is_started_again_and_ends_with_its_owner() -> None:
    runs = 0
    ended = asyncio.Event()

    async def loop() -> None:
        nonlocal runs
        runs += 1
        if runs == 1:
            raise RuntimeError("oops")
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with TaskOwner() as owner:
        task = owner.start("loop", loop)
        await eventually(lambda: runs == 2)
    assert ended.is_set()
    assert task.cancelled()


async def test_a_loop_that_returns_is_left_alone() -> None:
    runs = 0

    async def once() -> None:
        nonlocal runs
        runs += 1

    async with TaskOwner() as owner:
        await owner.start("once", once)
    assert runs == 1


async def test_the_fake_clock_wakes_who_has_slept_enough() -> None:
    clock = FakeClock()
    start = clock.now()
    short = asyncio.create_task(clock.sleep(timedelta(seconds=1)))
    long = asyncio.create_task(clock.sleep(timedelta(seconds=10)))
    await eventually(lambda: clock.sleepers == 2)
    clock.advance(timedelta(seconds=2))
    await short
    assert not long.done()
    clock.advance(timedelta(seconds=8))
    await long
    assert clock.now() - start == timedelta(seconds=10)
    await clock.sleep(timedelta())
    assert SystemClock().now().tzinfo is UTC
    await SystemClock().sleep(timedelta(seconds=-1))
