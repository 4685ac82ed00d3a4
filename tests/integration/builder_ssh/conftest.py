"""Fixtures: a running builder, users with keys, a repository to push."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.world import World, commit, open_world
from support import require_tool
from support.fixtures import MakeDatabase


@pytest.fixture(scope="session")
def host_keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Host keys for all servers: finding an RSA key takes longer than most tests."""
    directory = tmp_path_factory.mktemp("host-keys")
    load_host_keys(directory)
    return directory


@pytest.fixture
def short_path(host_keys: Path) -> Iterator[Path]:
    """A directory whose path leaves room for a unix socket."""
    require_tool("ssh")
    require_tool("git")
    with tempfile.TemporaryDirectory(prefix="b-") as name:
        path = Path(name)
        shutil.copytree(host_keys, path / "ssh")
        yield path


@pytest_asyncio.fixture
async def world(short_path: Path, make_database: MakeDatabase) -> AsyncIterator[World]:
    async with open_world(short_path, await make_database("builder")) as world:
        yield world


@pytest.fixture
def ana(world: World) -> Path:
    """Ana's key; she may push to `shop`."""
    return world.add_user("ana", "shop")


@pytest_asyncio.fixture
async def source(world: World) -> Path:
    """A repository with one commit on `main`."""
    source = world.path / "source"
    await commit(source, {"Procfile": "web: ./serve\n", "serve": "#!/bin/sh\n"})
    return source
