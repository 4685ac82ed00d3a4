"""One controller for all of these tests, served on this machine, with an app that has everything in it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controller.services.accounts import Accounts
from support.controller_api import Api, running_api
from support.fixtures import MakeDatabase
from support.openapi_client import MANAGER_KEYS, OpenApiClient, load_schema
from support.openapi_world import APP, STEPS, Step
from support.prometheus import running_prometheus
from support.stand_in_passport import running_passport


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def api(make_module_database: MakeDatabase, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Api]:
    """The controller, with a store of metrics and a broker, and people who hold tokens."""
    config = tmp_path_factory.mktemp("metrics") / "metrics.json"
    config.write_text(json.dumps({"queue_length": ["pod"]}))
    access, secret = MANAGER_KEYS
    url = await make_module_database("controller")
    async with (
        running_prometheus() as prometheus,
        running_passport() as passport,
        running_api(
            url,
            served=True,
            broker="memory",
            passport_url=passport.url,
            prometheus_url=prometheus.url,
            metrics_config_path=config,
            manager_access_key=access,
            manager_secret_key=secret,
            rate_limit=0,
        ) as api,
    ):
        prometheus.series["last_over_time"] = [
            {"metric": {"__name__": "queue_length", "pod": "shop-web-1"}, "value": [1738555506.2, "7"]}
        ]
        prometheus.series["rate("] = [{"metric": {"pod": "shop-web-1"}, "values": [[1738555506, "0.02"]]}]
        for name in ("ana", "bo", "cleo"):
            await api.person(name)
        await api.person("root", is_superuser=True)
        yield api


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def client(api: Api) -> AsyncIterator[OpenApiClient]:
    """Who sends the requests."""
    client = OpenApiClient(api, load_schema())
    async with api.context.unit_of_work() as uow:
        for alias in ("spare token", "known token"):
            await Accounts(uow).issue_token(api.people["ana"].account, alias=alias, sealed_refresh_token=None)
    yield client
    client.session.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(api: Api, client: OpenApiClient) -> OpenApiClient:
    """After a good request to every operation."""
    for step in STEPS:
        await _take(api, client, step)
    return client


async def _take(api: Api, client: OpenApiClient, step: Step) -> None:
    response = await asyncio.to_thread(client.take, step)
    done = response.status_code < 400 if step.status is None else response.status_code == step.status
    assert done, f"{step.operation}: {response.status_code} {response.text}"
    if step.learn is not None:
        client.names |= step.learn(response)
    if step.settles:
        await api.settled(APP)
