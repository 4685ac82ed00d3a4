"""Metrics of apps, out of a store that speaks Prometheus' API over HTTP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from starlette.responses import JSONResponse, Response

from support import FakeClock
from support.controller_api import Api, running_api
from support.fixtures import MakeDatabase
from support.prometheus import StandInPrometheus, running_prometheus

CONFIG = {"http_requests_total": ["code", "pod"], "queue_length": []}
EMPTY: dict[str, Any] = {"cpus": {}, "memory": {}, "networks": {"receive": {}, "transmit": {}}}


@pytest_asyncio.fixture(loop_scope="session")
async def prometheus() -> AsyncIterator[StandInPrometheus]:
    async with running_prometheus() as prometheus:
        yield prometheus


@pytest_asyncio.fixture(loop_scope="session")
async def metered(
    make_database: MakeDatabase, prometheus: StandInPrometheus, clock: FakeClock, tmp_path: Path
) -> AsyncIterator[Api]:
    """A controller that asks it, with an app of ana's."""
    config = tmp_path / "metrics.json"
    config.write_text(json.dumps(CONFIG))
    facts: dict[str, Any] = {"prometheus_url": prometheus.url + "/", "metrics_config_path": config}
    async with running_api(await make_database("controller"), clock=clock, run_worker=False, **facts) as api:
        await api.create("shop")
        yield api


async def ask(api: Api, path: str = "", **query: object) -> tuple[int, Any]:
    person = await api.person("ana")
    response = await person.client.get(f"/v2/apps/shop/metrics{path}", params={k: str(v) for k, v in query.items()})
    is_json = response.headers["content-type"] == "application/json"
    return response.status_code, response.json() if is_json else response.text


def one(pod: str, *values: tuple[float, str]) -> dict[str, Any]:
    return {"metric": {"pod": pod}, "values": [list(value) for value in values]}


async def test_the_last_samples_are_text(metered: Api, prometheus: StandInPrometheus) -> None:
    prometheus.series["last_over_time"] = [
        {"metric": {"__name__": "queue_length", "pod": "shop-web-1"}, "value": [1738555506.2, "7"]},
        {
            "metric": {"__name__": "http_requests_total", "pod": 'a"b\\c\n', "code": "200", "secret": "x"},
            "value": [1738555506.2, "0.5"],
        },
        {"metric": {"__name__": "other"}, "value": [1738555506.2, "1"]},
    ]
    expected = 'http_requests_total{code="200",pod="a\\"b\\\\c\\n"} 0.5\nqueue_length{} 7\n'
    assert await ask(metered) == (200, expected)
    query = 'last_over_time({__name__=~"http_requests_total|queue_length",namespace="shop"}[5m])'
    assert prometheus.asked == [("query", {"query": query})]


async def test_what_the_instances_used(metered: Api, prometheus: StandInPrometheus, clock: FakeClock) -> None:
    prometheus.series = {
        "cpu_usage": [one("shop-web-1", (1738555506.9, "0.02"), (1738555520, "0.03")), one("shop-web-2", (1, "1"))],
        "working_set": [one("shop-web-1", (1738555506, "1024"))],
        "receive": [one("shop-web-1", (1738555506, "3"))],
    }
    now = int(clock.now().timestamp())
    status, body = await ask(metered, "/web/status")
    assert status == 200
    assert body == {
        "id": "shop",
        "ptype": "web",
        "usage": {
            "cpus": {"shop-web-1": [[1738555506, "0.02"], [1738555520, "0.03"]], "shop-web-2": [[1, "1"]]},
            "memory": {"shop-web-1": [[1738555506, "1024"]]},
            "networks": {"receive": {"shop-web-1": [[1738555506, "3"]]}, "transmit": {}},
        },
    }
    kinds, asked = {kind for kind, _ in prometheus.asked}, [parameters for _, parameters in prometheus.asked]
    assert (kinds, len(asked)) == ({"query_range"}, 4)
    assert all((each["start"], each["end"], each["step"]) == (str(now - 3600), str(now), "14") for each in asked)
    pods = 'pod=~"^shop-web-.*$",namespace="shop"'
    expected = f'sum by (pod) (rate(container_cpu_usage_seconds_total{{{pods},container!=""}}[5m]))'
    assert expected in [each["query"] for each in asked]


async def test_answers_are_kept_for_a_while(metered: Api, prometheus: StandInPrometheus, clock: FakeClock) -> None:
    for _ in range(2):
        await ask(metered, "/web/status", every="6m")
    assert len(prometheus.asked) == 4
    await ask(metered, "/web/status", every="7m")
    assert len(prometheus.asked) == 8
    clock.advance(timedelta(seconds=21))
    await ask(metered, "/web/status", every="6m")
    assert len(prometheus.asked) == 12


@pytest.mark.parametrize(
    "broken",
    [
        Response(status_code=503),
        Response("no json"),
        JSONResponse({"status": "error", "error": "too many points"}),
        JSONResponse({"data": {"result": [{"metric": {}, "values": [[1, "1"]], "value": 3}]}}),
    ],
)
async def test_a_store_that_does_not_work_has_no_data(
    metered: Api, prometheus: StandInPrometheus, broken: Response
) -> None:
    prometheus.broken = broken
    status, body = await ask(metered, "/web/status")
    assert (status, body["usage"]) == (200, EMPTY)
    assert await ask(metered) == (200, "")


def said(field: str, message: str) -> dict[str, list[str]]:
    return {field: [message]}


async def test_what_may_be_asked_for(metered: Api, prometheus: StandInPrometheus, clock: FakeClock) -> None:
    now = int(clock.now().timestamp())
    cases: list[tuple[dict[str, object], dict[str, list[str]]]] = [
        ({"every": "5h"}, said("non_field_errors", "The format of every is:^[1-9][0-9]*m$")),
        ({"every": "0m"}, said("non_field_errors", "The format of every is:^[1-9][0-9]*m$")),
        ({"every": "5m "}, said("non_field_errors", "The format of every is:^[1-9][0-9]*m$")),
        ({"start": 1}, said("start", "Ensure this value is greater than or equal to 946656000.")),
        ({"start": now + 1}, said("start", f"Ensure this value is less than or equal to {now}.")),
        ({"start": "x"}, said("start", "A valid integer is required.")),
        ({"stop": 4102416001}, said("stop", "Ensure this value is less than or equal to 4102416000.")),
        ({"step": 100}, said("step", "Ensure this value is less than or equal to 30.")),
        ({"step": 0}, said("step", "Ensure this value is greater than or equal to 1.")),
        ({"step": ""}, said("step", "A valid integer is required.")),
        ({"start": now - 86401}, said("non_field_errors", "The start and stop intervals must be within 24 hour.")),
        ({"stop": now - 3601}, said("non_field_errors", "The start and stop intervals must be within 24 hour.")),
        (
            {"start": now - 86400, "every": "14m"},
            said("non_field_errors", "The amount of data requested is too large."),
        ),
        (
            {"start": 1, "step": 31, "every": "x"},
            said("start", "Ensure this value is greater than or equal to 946656000.")
            | said("step", "Ensure this value is less than or equal to 30."),
        ),
    ]
    for query, answer in cases:
        assert (await ask(metered, "/web/status", **query)) == (422, answer), query
    assert prometheus.asked == []
    assert (await ask(metered, "/web/status", start=now - 86400, every="15m", step=30))[0] == 200


async def test_who_may(metered: Api) -> None:
    stranger = await metered.person("bo")
    for path in ("/v2/apps/shop/metrics", "/v2/apps/shop/metrics/web/status"):
        assert (await metered.anonymous.get(path)).status_code == 401
        assert (await stranger.client.get(path)).status_code == 404


async def test_a_platform_without_metrics_says_so(api: Api) -> None:
    await api.create("shop")
    assert await ask(api) == (200, "")
    detail = "this platform collects no metrics: its operator can set CONTROLLER_PROMETHEUS_URL"
    assert await ask(api, "/web/status") == (503, {"detail": detail})
    assert (await ask(api, "/web/status", step=99))[0] == 422
