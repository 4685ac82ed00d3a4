"""Fixtures: one PostgreSQL and one RabbitMQ for the whole run, a fresh database for each test or module that asks."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
import pytest_asyncio

from shared.testing.postgres import TemplateDatabases
from standalone.postgres import EmbeddedPostgres
from support.broker import Broker, ExternalRabbit, choose_broker, running_compose
from support.tools import find_tool

MakeDatabase = Callable[..., Awaitable[str]]
"""`await make_database("controller")` gives the URL of a new database with the tables of that package."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def postgres(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A running server that is fast rather than durable."""
    base = tmp_path_factory.mktemp("pg")
    server = EmbeddedPostgres(base / "data", socket_dir=base / "run", log_file=base / "log", durable=False)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
        shutil.rmtree(base, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_databases(postgres: EmbeddedPostgres) -> TemplateDatabases:
    """Makes databases; prefer `make_database`, which also removes them."""
    return TemplateDatabases(postgres.url)


@pytest_asyncio.fixture(loop_scope="session")
async def make_database(template_databases: TemplateDatabases) -> AsyncIterator[MakeDatabase]:
    """Makes databases that live as long as the test."""
    async for make in _maker(template_databases):
        yield make


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def make_module_database(template_databases: TemplateDatabases) -> AsyncIterator[MakeDatabase]:
    """Makes databases that live as long as the module's tests."""
    async for make in _maker(template_databases):
        yield make


async def _maker(databases: TemplateDatabases) -> AsyncIterator[MakeDatabase]:
    made: list[str] = []

    async def make(package: str | None = None) -> str:
        made.append(await databases.create(package))
        return made[-1]

    yield make
    for url in made:
        await databases.drop(url)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Broker]:
    """A running broker; tests that stop it must start it again."""
    base = tmp_path_factory.mktemp("mq")
    server = find_tool("rabbitmq-server")
    broker = choose_broker(base, server=server, compose=running_compose() if server is None else None)
    await broker.start()
    try:
        yield broker
    finally:
        if isinstance(broker, ExternalRabbit):
            broker.remove_vhosts()
        else:
            await broker.stop()
        shutil.rmtree(base, ignore_errors=True)


@pytest.fixture
def rabbitmq_url(rabbitmq: Broker) -> str:
    """The broker's URL with a virtual host of the test's own."""
    return rabbitmq.url(rabbitmq.next_vhost())
