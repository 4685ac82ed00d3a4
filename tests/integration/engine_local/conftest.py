"""Fixtures for tests of the local engine with real processes."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from support.local_engine import Bench, TestEdge, running_bench
from support.tools import free_port


@pytest_asyncio.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """An engine without an edge."""
    async with running_bench(tmp_path) as bench:
        yield bench


@pytest_asyncio.fixture
async def edge(tmp_path: Path) -> AsyncIterator[TestEdge]:
    """A running Caddy."""
    base = tmp_path / "caddy"
    base.mkdir()
    edge = TestEdge(base)
    await edge.start()
    try:
        yield edge
    finally:
        await edge.stop()


@pytest_asyncio.fixture
async def edged(tmp_path: Path, edge: TestEdge) -> AsyncIterator[Bench]:
    """An engine behind that Caddy."""
    async with running_bench(tmp_path, edge_dir=edge.directory) as bench:
        yield bench


@pytest.fixture
def container_storage() -> Iterator[Path]:
    """A storage.conf for podman and buildah: a storage of the test's own.

    Its path is short, because podman keeps sockets below it and their paths may not be longer than 107 bytes. Ask for
    it before the bench, so that it goes after the engine.
    """
    with tempfile.TemporaryDirectory(prefix="wf-") as directory:
        configuration = Path(directory, "storage.conf")
        configuration.write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{directory}/images"\nrunroot = "{directory}/run"\n'
        )
        yield configuration


@pytest.fixture
def free() -> int:
    """A port that nobody listens on."""
    return free_port()
