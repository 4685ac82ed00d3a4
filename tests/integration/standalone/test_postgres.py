"""The embedded PostgreSQL: first start, restart with data, failures that say why."""

import shutil
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import pytest

from standalone.postgres import EmbeddedPostgres, PostgresFailedError


@pytest.fixture
async def directory() -> AsyncIterator[Path]:
    # Unix sockets have short paths; pytest's own directories are too deep for them.
    path = Path(tempfile.mkdtemp(prefix="wf-"))
    yield path
    shutil.rmtree(path)


def _server(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "data", socket_dir=directory / "run", log_file=directory / "log", durable=False)


async def _query(directory: Path, sql: str) -> object:
    connection = await asyncpg.connect(host=str(directory / "run"), user="postgres", database="postgres")
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def test_data_outlives_a_restart(directory: Path) -> None:
    server = _server(directory)
    await server.start()
    await _query(directory, "CREATE TABLE kept AS SELECT 42 AS answer")
    await server.stop()
    assert server.pid is None
    await server.start()
    try:
        assert await _query(directory, "SELECT answer FROM kept") == 42
        assert server.url("shop") == f"postgresql+asyncpg://postgres@/shop?host={directory / 'run'}"
    finally:
        await server.stop()


async def test_a_server_that_cannot_start_says_why(directory: Path) -> None:
    server = _server(directory)
    await server.start()
    await server.stop()
    (directory / "data" / "postgresql.conf").write_text("nonsense = 1\n")
    with pytest.raises(PostgresFailedError, match="nonsense"):
        await server.start()


async def test_a_socket_path_that_is_too_long_is_refused(tmp_path: Path) -> None:
    server = EmbeddedPostgres(tmp_path / "data", socket_dir=tmp_path / ("x" * 100), log_file=tmp_path / "log")
    with pytest.raises(PostgresFailedError, match="too long for a unix socket"):
        await server.start()
    assert not (tmp_path / "data").exists()


async def test_a_second_server_on_the_same_data_is_refused(directory: Path) -> None:
    first, second = _server(directory), _server(directory)
    await first.start()
    try:
        with pytest.raises(PostgresFailedError, match="lock file"):
            await second.start()
        assert await _query(directory, "SELECT 1") == 1
    finally:
        await first.stop()
