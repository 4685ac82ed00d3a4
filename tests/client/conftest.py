"""One suite for all tests of the client; each test has machines and apps of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from client.canned import Bench, bench
from client.coverage import Record, check_wire
from client.model.session import Outcome, Session
from client.suite import ADMIN, Suite, running_suite
from client.world import App
from shared.testing.postgres import TemplateDatabases

LAST = "test_each_has_reached_the_suite["


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Have the questions about what all tests did come last; leave them out when not all tests were asked for."""
    here = Path(__file__).parent
    last = [item for item in items if item.path.parent == here and item.name.startswith(LAST)]
    if not last:
        return
    others = [item for item in items if item not in last]
    chosen = any("::" in word for word in config.args) or any(
        config.getoption(name, default=False) for name in ("keyword", "markexpr", "lf")
    )
    if chosen or not {item.path for item in items}.issuperset(here.glob("test_*.py")):
        config.hook.pytest_deselected(items=last)
        last = []
    items[:] = [*others, *last]


@pytest.fixture(scope="session")
def record() -> Record:
    """Which commands have reached the suite."""
    return Record()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def suite(
    template_databases: TemplateDatabases, tmp_path_factory: pytest.TempPathFactory, record: Record
) -> AsyncIterator[Suite]:
    """The running services."""
    controller, passport = await template_databases.create("controller"), await template_databases.create("passport")

    def seen(outcome: Outcome) -> None:
        record.add(outcome)
        check_wire(outcome)

    async with running_suite(controller, passport, profiles=tmp_path_factory.mktemp("profiles"), seen=seen) as suite:
        yield suite
    for url in (controller, passport):
        await template_databases.drop(url)


@pytest_asyncio.fixture(loop_scope="session")
async def ana(suite: Suite, tmp_path: Path) -> Session:
    """Somebody without special rights."""
    return await suite.session("ana", tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def bo(suite: Suite, tmp_path: Path) -> Session:
    """Somebody else."""
    return await suite.session("bo", tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def admin(suite: Suite, tmp_path: Path) -> Session:
    """A superuser."""
    return await suite.session(ADMIN, tmp_path)


@pytest_asyncio.fixture(loop_scope="session")
async def app(suite: Suite, ana: Session) -> App:
    """A new app of ana's, without a build; its name is that of her directory as well."""
    return await App.create(suite, ana)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def still_name(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An app of ana's that nobody changes."""
    app = await App.create(suite, await suite.session("ana", tmp_path_factory.mktemp("still")))
    return app.name


@pytest_asyncio.fixture(loop_scope="session")
async def still(suite: Suite, ana: Session, still_name: str) -> App:
    """An app without a build that all tests share: for what is refused and for what only looks."""
    return App.at(suite, ana, still_name)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def running_name(suite: Suite, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An app of ana's that runs and that nobody changes."""
    app = await App.create(suite, await suite.session("ana", tmp_path_factory.mktemp("running")))
    await app.deploy()
    return app.name


@pytest_asyncio.fixture(loop_scope="session")
async def running(suite: Suite, ana: Session, running_name: str) -> App:
    """An app that runs `web` once, which all tests share: for those that only look."""
    return App.at(suite, ana, running_name)


@pytest_asyncio.fixture(loop_scope="session")
async def deployed(app: App) -> App:
    """An app of ana's that runs `web` once; `worker` can be scaled."""
    await app.deploy()
    return app


@pytest_asyncio.fixture(loop_scope="session")
async def client(tmp_path: Path) -> AsyncIterator[Bench]:
    """A client and a server whose answers the test chooses."""
    async with bench(tmp_path) as made:
        yield made
