"""Usage records: what is written when, and how they reach a billing manager that answers over HTTP, or does not."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography.fernet import Fernet
from sqlalchemy import func, select
from starlette.responses import Response
from structlog.testing import capture_logs

from controller.background import measurements as background
from controller.background.measurements import LOOK_EVERY, Meter, UsageReporter
from controller.domain.spec_network import Address, NetworkObservation
from controller.schema.measurements import MeasuredAppRow, MeasurementRow
from controller.services import measurements as use_cases
from controller.services.measurements import LEASE
from shared.errors import UnavailableError
from support import FakeClock, eventually
from support.controller_api import Api, running_api
from support.fixtures import MakeDatabase
from support.prometheus import StandInPrometheus, running_prometheus
from support.stand_in_manager import StandInManager, running_manager

ACCESS, SECRET = "the-access-key", "the-secret-key-of-the-manager"
CREDENTIAL = base64.b85encode(f"{ACCESS}:{SECRET}".encode()).decode()
DEFAULT, LARGER = "std1.large.c1m1", "std1.large.c2m4"
GIB = 1024**3
HOUR = timedelta(hours=1)


@pytest_asyncio.fixture(loop_scope="session")
async def manager() -> AsyncIterator[StandInManager]:
    async with running_manager() as manager:
        yield manager


@pytest_asyncio.fixture(loop_scope="session")
async def prometheus() -> AsyncIterator[StandInPrometheus]:
    async with running_prometheus() as prometheus:
        yield prometheus


def facts_for(manager: StandInManager) -> dict[str, Any]:
    """Settings of a controller that has this manager."""
    keys = {"manager_access_key": ACCESS, "manager_secret_key": SECRET}
    return {"manager_url": manager.url, "broker": "memory", **keys}


@dataclass
class Billed:
    """A controller on a clock that stands still; what it does for the manager is done when the test says so."""

    api: Api
    clock: FakeClock
    seen: int = field(default=0)

    @property
    def meter(self) -> Meter:
        """A process that measures."""
        context = self.api.context
        return Meter(
            unit_of_work=context.unit_of_work, engine=context.engine, metrics=context.metrics, clock=context.clock
        )

    @property
    def reporter(self) -> UsageReporter:
        """A process that sends."""
        context = self.api.context
        assert context.manager is not None
        return UsageReporter(unit_of_work=context.unit_of_work, manager=context.manager, clock=context.clock)

    async def measured(self) -> list[dict[str, Any]]:
        """The records that another look at the apps makes."""
        self.clock.advance(LOOK_EVERY)
        await self.meter.measure_apps()
        return await self.news()

    async def hour(self) -> list[dict[str, Any]]:
        """The records that another look at the last hour makes."""
        await self.meter.measure_hour()
        return await self.news()

    async def news(self) -> list[dict[str, Any]]:
        """Records that are new since it was asked last; none has been sent."""
        records = await self.waiting()
        self.seen, seen = len(records), self.seen
        return records[seen:]

    async def waiting(self) -> list[dict[str, Any]]:
        """Records that the manager has not taken, the oldest first."""
        async with self.api.context.database.session() as session:
            rows = await session.scalars(select(MeasurementRow.record).order_by(MeasurementRow.uuid))
            return list(rows)

    async def post(self, path: str, body: object, *, method: str = "POST") -> None:
        """A change by ana of an app."""
        person = await self.api.person("ana")
        response = await person.client.request(method, f"/v2/apps/{path}/", json=body)
        assert response.is_success, response.text


@asynccontextmanager
async def billing(url: str, manager: StandInManager, clock: FakeClock, **facts: Any) -> AsyncIterator[Billed]:
    """A controller with its API and all of its worker but what this is about."""
    async with running_api(url, clock=clock, run_worker=False, **(facts_for(manager) | facts)) as api:
        yield Billed(api, clock)


@pytest_asyncio.fixture(loop_scope="session")
async def billed(
    make_database: MakeDatabase, manager: StandInManager, prometheus: StandInPrometheus, clock: FakeClock
) -> AsyncIterator[Billed]:
    """A controller with a manager and metrics."""
    async with billing(await make_database("controller"), manager, clock, prometheus_url=prometheus.url) as billed:
        yield billed


def brief(records: list[dict[str, Any]]) -> list[tuple[str, str, int, str]]:
    """What of them differs from test to test."""
    return [(each["type"], each["name"], each["usage"], each["unit"]) for each in records]


async def some_records(billed: Billed, *apps: str) -> None:
    """Apps with one volume each, and the records of that."""
    for app in apps:
        await billed.api.create(app)
        await billed.post(f"{app}/volumes", {"name": "data", "size": "1G"})
    assert len(await billed.measured()) == len(apps)


# --- what is written ---


async def test_what_apps_have_is_told_when_it_changes(make_database: MakeDatabase, clock: FakeClock) -> None:
    # Rollouts need the worker, which without a manager does nothing of all this.
    async with running_api(await make_database("controller"), clock=clock, broker="memory") as api:
        billed = Billed(api, clock)
        await api.create("shop")
        await api.build("shop")
        records = await billed.measured()
        owner = (await api.person("ana")).account.id
        assert records == [
            {
                "app_id": "shop", "owner": owner, "name": DEFAULT, "type": "limits", "unit": "replicas",
                "usage": usage, "kwargs": {"ptype": ptype}, "timestamp": int(clock.now().timestamp()),
            }
            for ptype, usage in (("web", 1), ("worker", 0))
        ]  # fmt: skip
        assert await billed.measured() == []
        await billed.post("shop/ptypes/scale", {"web": 3})
        assert brief(await billed.measured()) == [("limits", DEFAULT, 3, "replicas")]
        await billed.post("shop/config", {"limits": {"worker": LARGER}})
        await api.settled("shop")
        assert brief(await billed.measured()) == [("limits", LARGER, 0, "replicas")]
        await billed.post("shop/volumes", {"name": "data", "size": "5G"})
        (volume,) = await billed.measured()
        assert brief([volume]) == [("volume", "csi", 5 * GIB, "bytes")]
        assert volume["kwargs"] == {"name": "data"}
        await billed.post("shop/volumes/data", {"size": "6G"}, method="PATCH")
        assert brief(await billed.measured()) == [("volume", "csi", 6 * GIB, "bytes")]
        await billed.post("shop/resources", {"name": "base", "plan": "postgres:standard-10", "options": {}})
        (resource,) = await billed.measured()
        assert brief([resource]) == [("resource", "postgres:standard-10", 1, "instances")]
        assert resource["kwargs"] == {"name": "base"}
        # What does not change what is used is not told.
        await billed.post("shop/config", {"values": [{"name": "A", "value": "1", "group": "global"}]})
        await api.settled("shop")
        await billed.post("shop/volumes/data/path", {"path": {"web": "/data"}}, method="PATCH")
        await api.settled("shop")
        assert await billed.measured() == []


async def test_a_new_owner_is_told_of_all(billed: Billed) -> None:
    await some_records(billed, "gift")
    bo = await billed.api.person("bo")
    await billed.post("gift", {"owner": "bo"})
    (record,) = await billed.measured()
    assert (record["owner"], record["type"]) == (bo.account.id, "volume")


async def test_all_is_told_once_a_day_at_one(billed: Billed, clock: FakeClock) -> None:
    await some_records(billed, "one", "two")
    clock.advance(datetime(2026, 1, 6, 0, 59, 40, tzinfo=UTC) - clock.now())
    assert await billed.measured() == []
    clock.advance(timedelta(seconds=20))
    assert [(each["app_id"], each["type"]) for each in await billed.measured()] == [
        ("one", "volume"),
        ("two", "volume"),
    ]
    assert await billed.measured() == []
    clock.advance(timedelta(days=3))  # the days when nothing was up are not made up
    assert len(await billed.measured()) == 2


async def test_a_platform_in_pieces(billed: Billed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(use_cases, "APPS_AT_ONCE", 2)
    monkeypatch.setattr(background, "APPS_AT_ONCE", 2)
    await some_records(billed, *(f"app-{number}" for number in range(5)))


async def test_several_processes_write_each_record_once(billed: Billed, clock: FakeClock) -> None:
    await billed.api.create("shop")
    await billed.post("shop/volumes", {"name": "data", "size": "1G"})
    clock.advance(LOOK_EVERY)
    await asyncio.gather(*(billed.meter.measure_apps() for _ in range(4)))
    assert len(await billed.news()) == 1
    clock.advance(timedelta(days=1))
    await asyncio.gather(*(billed.meter.measure_apps() for _ in range(4)))
    assert len(await billed.news()) == 1


async def test_records_outlive_their_app(billed: Billed) -> None:
    await some_records(billed, "short-lived")
    await billed.post("short-lived", None, method="DELETE")
    assert await billed.measured() == []
    assert len(await billed.waiting()) == 1


# --- by the hour ---


def traffic(prometheus: StandInPrometheus) -> None:
    """What the pods of the app `shop`, and one of an app that nobody asked for, have received and sent."""
    pod = {"namespace": "shop", "pod": "shop-web-1"}
    prometheus.series = {
        "receive": [
            {"metric": pod, "value": [0, "1000.6"]},
            {"metric": {"namespace": "shop", "pod": "shop-web-2"}, "value": [0, "0"]},
            {"metric": {"namespace": "shop", "pod": "shop-web-3"}, "value": [0, "NaN"]},
            {"metric": {"namespace": "other", "pod": "x"}, "value": [0, "5"]},
        ],
        "transmit": [{"metric": pod, "value": [0, "2000"]}],
    }


async def test_traffic_and_load_balancers_are_told_every_hour(
    billed: Billed, prometheus: StandInPrometheus, clock: FakeClock
) -> None:
    traffic(prometheus)
    await billed.api.create("shop")
    await billed.post("shop/gateways", {"name": "edge", "port": 8080, "protocol": "HTTP"})
    addresses = [("IPAddress", "8.8.8.8"), ("IPAddress", "fd00::1"), ("Hostname", "lb.example.org")]
    shown = {"edge": tuple(Address(*address) for address in addresses)}
    billed.api.engine.show_network("shop", NetworkObservation(addresses=shown))
    assert await billed.measured() == []
    assert await billed.hour() == []
    since = datetime(2026, 1, 5, 10, tzinfo=UTC)
    clock.advance(HOUR)
    records = await billed.hour()
    window = {"pod": "shop-web-1", "since": int(since.timestamp()), "until": int((since + HOUR).timestamp())}
    assert brief(records) == [
        ("network", "rx", 1001, "bytes"),
        ("network", "tx", 2000, "bytes"),
        ("loadbalancer", "internet:4", 1, "addresses"),
        ("loadbalancer", "intranet:6", 1, "addresses"),
    ]
    assert [each["kwargs"] for each in records] == [
        window,
        window,
        {"gateway": "edge", "address": "8.8.8.8"},
        {"gateway": "edge", "address": "fd00::1"},
    ]
    query = 'sum by (namespace,pod) (increase(container_network_receive_bytes_total{namespace=~"shop"}[3600s]))'
    assert prometheus.asked[0] == ("query", {"query": query, "time": str(window["until"])})
    assert await billed.hour() == []


async def test_traffic_waits_for_the_metrics_store(
    billed: Billed, prometheus: StandInPrometheus, clock: FakeClock
) -> None:
    traffic(prometheus)
    await billed.api.create("shop")
    await billed.measured()
    prometheus.broken = Response(status_code=503)
    clock.advance(HOUR)
    with pytest.raises(UnavailableError):
        await billed.meter.measure_hour()
    clock.advance(2 * HOUR)
    prometheus.broken = None
    records = await billed.hour()
    assert len(records) == 2
    assert records[0]["kwargs"]["until"] - records[0]["kwargs"]["since"] == 3 * 3600
    clock.advance(timedelta(days=2))
    with capture_logs() as logs:
        records = await billed.hour()
    assert records[0]["kwargs"]["until"] - records[0]["kwargs"]["since"] == 24 * 3600
    assert [entry["event"] for entry in logs if entry["log_level"] == "warning"] == ["traffic_too_old_to_measure"]


async def test_several_processes_tell_an_hour_once(
    billed: Billed, prometheus: StandInPrometheus, clock: FakeClock
) -> None:
    traffic(prometheus)
    await billed.api.create("shop")
    await billed.measured()
    clock.advance(HOUR)
    await asyncio.gather(*(billed.meter.measure_hour() for _ in range(3)))
    assert len(await billed.news()) == 2


async def test_an_app_that_cannot_be_looked_at_stops_no_other(
    billed: Billed, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    for app in ("bad", "good"):
        await billed.api.create(app)
        await billed.post(f"{app}/gateways", {"name": "edge", "port": 8080, "protocol": "HTTP"})
    engine = billed.api.engine

    async def network(app: str) -> NetworkObservation:
        if app == "bad":
            raise UnavailableError("the cluster does not answer")
        return NetworkObservation(addresses={"edge": (Address("IPAddress", "10.0.0.1"),)})

    monkeypatch.setattr(engine, "network", network)
    await billed.measured()
    clock.advance(HOUR)
    assert [each["app_id"] for each in await billed.hour()] == ["good"]


# --- how it is sent ---


async def test_records_are_sent_in_order_and_forgotten(billed: Billed, manager: StandInManager) -> None:
    await some_records(billed, "one", "two")
    written = await billed.waiting()
    assert await billed.reporter.send() == timedelta()
    assert await billed.reporter.send() == LOOK_EVERY
    assert manager.taken == written
    assert manager.credentials == {f"token {CREDENTIAL}"}
    assert await billed.waiting() == []


@pytest.mark.parametrize("status", [500, 503, 302, 401, 403, 404, 429])
async def test_a_manager_that_does_not_work_is_tried_again(
    billed: Billed, manager: StandInManager, clock: FakeClock, status: int
) -> None:
    await some_records(billed, "one", "two", "three")
    written, reporter = await billed.waiting(), billed.reporter
    manager.statuses = [status] * 12
    pauses = []
    with capture_logs() as logs:
        for _ in range(12):
            pauses.append(await reporter.send())
            clock.advance(pauses[-1])
    assert all(timedelta(seconds=0.5 * 2**n) <= pause <= timedelta(seconds=2**n) for n, pause in enumerate(pauses[:8]))
    assert all(timedelta(seconds=150) <= pause <= timedelta(seconds=300) for pause in pauses[9:])
    told = [entry for entry in logs if entry["event"] == "usage_not_reported"]
    assert [entry["waiting"] for entry in told] == [3] * 12
    assert told[0]["reason"] == f"status {status}"
    assert SECRET not in str(logs)
    assert CREDENTIAL not in str(logs)
    while await reporter.send() == timedelta():
        pass
    assert manager.taken == written
    assert await billed.waiting() == []


async def test_a_manager_that_is_gone_comes_back(
    billed: Billed, make_database: MakeDatabase, manager: StandInManager, clock: FakeClock
) -> None:
    url = await make_database("controller")
    async with billing(url, manager, clock, manager_url="http://127.0.0.1:9") as away:
        await some_records(away, "one")
        assert await away.reporter.send() > timedelta()
    async with billing(url, manager, clock) as back:  # a restart, and a manager that listens again
        assert await back.reporter.send() == timedelta()
        assert [each["app_id"] for each in manager.taken] == ["one"]
        assert await back.waiting() == []
    assert await billed.waiting() == []


async def test_a_refused_record_stops_no_other(billed: Billed, manager: StandInManager, clock: FakeClock) -> None:
    await some_records(billed, *(f"app-{number}" for number in range(7)))
    manager.poison = {"app-3"}
    reporter = billed.reporter
    with capture_logs() as logs:
        for _ in range(20):
            if await reporter.send() == LOOK_EVERY:
                break
    assert sorted(each["app_id"] for each in manager.taken) == [f"app-{n}" for n in (0, 1, 2, 4, 5, 6)]
    assert [each["app_id"] for each in await billed.waiting()] == ["app-3"]
    (told,) = [entry for entry in logs if entry["event"] == "usage_record_refused"]
    assert (told["app_id"], told["reason"], told["attempts"]) == ("app-3", "status 400", 1)
    clock.advance(timedelta(minutes=59))
    assert await reporter.send() == LOOK_EVERY
    clock.advance(timedelta(minutes=1))
    assert await reporter.send() < LOOK_EVERY  # refused again: now for two hours
    clock.advance(timedelta(minutes=119))
    assert await reporter.send() == LOOK_EVERY
    clock.advance(timedelta(minutes=1))
    manager.poison = set()
    assert await reporter.send() == timedelta()
    assert await billed.waiting() == []
    assert len(manager.taken) == 7


async def test_a_manager_that_refuses_everything_is_not_flooded(
    billed: Billed, manager: StandInManager, clock: FakeClock
) -> None:
    apps = {f"app-{number}" for number in range(6)}
    await some_records(billed, *sorted(apps))
    manager.poison, reporter = apps, billed.reporter
    pauses = []
    while (pause := await reporter.send()) != LOOK_EVERY:
        pauses.append(pause)
        clock.advance(pause)
    assert manager.sizes == [6, 3, 1, 1, 1, 1, 1, 1]
    assert sum(pauses, timedelta()) > timedelta(seconds=15)
    assert len(await billed.waiting()) == 6


async def test_batches_are_bounded(billed: Billed, manager: StandInManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "BATCH", 2)
    await some_records(billed, "one", "two", "three")
    reporter = billed.reporter
    while await reporter.send() == timedelta():
        pass
    assert manager.sizes == [2, 1]


async def test_many_waiting_records_are_an_error(
    billed: Billed, manager: StandInManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(background, "MANY", 2)
    await some_records(billed, "one", "two")
    manager.statuses = [500]
    with capture_logs() as logs:
        await billed.reporter.send()
    assert [(entry["log_level"], entry["waiting"]) for entry in logs if "waiting" in entry] == [("error", 2)]


async def test_who_dies_while_it_sends_has_it_sent_again(
    billed: Billed, manager: StandInManager, clock: FakeClock
) -> None:
    await some_records(billed, "one")
    manager.hold = asyncio.Event()
    dying = asyncio.create_task(billed.reporter.send())
    await eventually(lambda: len(manager.taken) == 1)
    dying.cancel()
    await asyncio.gather(dying, return_exceptions=True)
    manager.hold.set()
    assert await billed.reporter.send() == LOOK_EVERY  # it may still be at it
    clock.advance(LEASE)
    assert await billed.reporter.send() == timedelta()
    first, second = manager.taken
    assert first == second  # so that the manager can tell
    assert await billed.waiting() == []


async def test_several_processes_send_each_record_once(billed: Billed, manager: StandInManager) -> None:
    apps = [f"app-{number}" for number in range(9)]
    await some_records(billed, *apps)
    await asyncio.gather(*(billed.reporter.send() for _ in range(4)))
    assert sorted(each["app_id"] for each in manager.taken) == apps


# --- the whole ---


async def test_a_worker_reports_by_itself_over_restarts(make_database: MakeDatabase, manager: StandInManager) -> None:
    url, clock = await make_database("controller"), FakeClock()
    facts = facts_for(manager) | {"encryption_keys": [Fernet.generate_key().decode()]}
    manager.statuses = [503] * 3
    for round_ in (1, 2):
        async with AsyncExitStack() as stack:
            workers = [await stack.enter_async_context(running_api(url, clock=clock, **facts)) for _ in range(2)]
            if round_ == 1:
                await workers[0].create("shop")
                await workers[0].build("shop")

            def is_told() -> bool:
                clock.advance(LOOK_EVERY)
                return bool(manager.sizes) if round_ == 1 else len(manager.taken) >= 2  # noqa: B023  used in this round

            await eventually(is_told)
    # Two send in any order, and this clock runs so fast that one may take the other for dead.
    assert set(brief(manager.taken)) == {("limits", DEFAULT, 0, "replicas"), ("limits", DEFAULT, 1, "replicas")}


async def test_without_a_manager_nothing_is_written(make_database: MakeDatabase, clock: FakeClock) -> None:
    async with running_api(await make_database("controller"), clock=clock) as api:
        await api.create("shop")
        await api.build("shop")
        names = {task.get_name() for task in asyncio.all_tasks()}
        assert "pruning" in names
        assert names.isdisjoint({"measure_apps", "measure_hours", "usage_reports"})
        clock.advance(timedelta(days=2))
        async with api.context.database.session() as session:
            for table in (MeasurementRow, MeasuredAppRow):
                assert await session.scalar(select(func.count()).select_from(table)) == 0
