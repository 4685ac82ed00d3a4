"""hooks and the registry refresher as processes, as the image starts them: migrate, serve, be ready, end on SIGTERM."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from support import eventually
from support.fixtures import MakeDatabase

BIN = Path(sys.executable).parent


@asynccontextmanager
async def _running(program: str, environment: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(str(BIN / program), "serve", env=os.environ | environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _run(program: str, *arguments: str, environment: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        str(BIN / program), *arguments, env=os.environ | environment, stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    return process.returncode, errors.decode()


async def _becomes_ready(socket: Path) -> None:
    async with httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(uds=str(socket))) as client:

        async def is_ready() -> bool:
            try:
                return (await client.get("http://service/readiness")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(is_ready, timeout=30)


@pytest.mark.parametrize("program", ["workflow-hooks", "workflow-registry-refresher"])
async def test_a_service_serves_until_sigterm(program: str, make_database: MakeDatabase, tmp_path: Path) -> None:
    prefix = program.removeprefix("workflow-").replace("-", "_").upper()
    socket = tmp_path / "s"
    environment = {f"{prefix}_BIND_SOCKET": str(socket)}
    if program == "workflow-hooks":
        environment |= {
            "HOOKS_DATABASE_URL": await make_database(),
            "HOOKS_PASSPORT_URL": "http://127.0.0.1:9",
            "HOOKS_ISSUER": "http://127.0.0.1:9/oauth",
        }
        assert (await _run(program, "migrate", environment=environment))[0] == 0
    async with _running(program, environment) as process:
        await _becomes_ready(socket)
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 0
    assert not socket.exists()


async def test_wrong_settings_end_with_one_line_each() -> None:
    status, errors = await _run("workflow-hooks", "serve", environment={"HOOKS_ISSUER": "x", "HOOKS_CONCURRENCY": "0"})
    assert status == 1
    assert sorted(line.partition(":")[0] for line in errors.splitlines()) == ["HOOKS_CONCURRENCY", "HOOKS_PASSPORT_URL"]
