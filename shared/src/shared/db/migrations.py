"""Runs a package's Alembic migrations: safe from several processes at once, quick when there is nothing to do."""

from __future__ import annotations

import asyncio
import importlib.util
import threading
from pathlib import Path
from typing import Final

import asyncpg
from alembic import command, context
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from shared.db.database import create_unpooled_engine
from shared.errors import SuiteError
from shared.logging import get_logger

_LOCK_KEY: Final = "workflow-migrate"
_LOCK_WAIT_SECONDS: Final = 120.0
_TABLE_LOCK_WAIT: Final = "15s"
# Alembic keeps the context of a run in module globals, so that one process runs one upgrade at a time.
_one_upgrade = threading.Lock()
log = get_logger(__name__)


class MigrationError(SuiteError):
    """The database cannot be brought to the state that this version of the code needs."""

    code = "migration-failed"
    title = "The database could not be migrated"


async def migrate(url: str, package: str) -> None:
    """Bring the database at `url` to the newest revision of `<package>/migrations`; create it when it is missing.

    Runs in a thread with an event loop of its own: scripts are Python files and block while they load.

    Raises:
        MigrationError: the package has no migrations, or the database is newer than the code.
    """
    config = _config(package)
    await asyncio.to_thread(asyncio.run, _migrate(make_url(url), config, package))


def run_migrations(metadata: MetaData) -> None:
    """The whole of a package's `migrations/env.py`: run the scripts on the connection that `migrate` provides."""
    connection = context.config.attributes.get("connection")
    if not isinstance(connection, Connection):
        raise MigrationError("migrations run through shared.db.migrate only")
    context.configure(connection=connection, target_metadata=metadata, transaction_per_migration=True)
    with context.begin_transaction():
        context.run_migrations()


def _config(package: str) -> Config:
    spec = importlib.util.find_spec(package)
    for location in (spec.submodule_search_locations or []) if spec else []:
        scripts = Path(location) / "migrations"
        if (scripts / "env.py").is_file():
            config = Config()
            config.set_main_option("path_separator", "os")
            config.set_main_option("script_location", str(scripts).replace("%", "%%"))
            return config
    raise MigrationError(f"the package {package} has no migrations/env.py")


async def _migrate(url: URL, config: Config, package: str) -> None:
    scripts = ScriptDirectory.from_config(config)
    head = scripts.get_current_head()
    engine = create_unpooled_engine(url)
    try:
        try:
            async with engine.connect() as connection:
                current = await _current(connection)
        except DBAPIError as exc:
            if not _is(exc, asyncpg.InvalidCatalogNameError.sqlstate):
                raise
            await _create_database(url)
            current = None
        if current == head:
            return
        async with engine.connect() as connection:
            await _upgrade(connection, config, scripts, package)
    finally:
        await engine.dispose()


async def _current(connection: AsyncConnection) -> str | None:
    exists = await connection.execute(text("SELECT to_regclass('alembic_version') IS NOT NULL"))
    if not exists.scalar_one():
        return None
    revision = (await connection.execute(text("SELECT version_num FROM alembic_version"))).scalar_one_or_none()
    return None if revision is None else str(revision)


async def _upgrade(connection: AsyncConnection, config: Config, scripts: ScriptDirectory, package: str) -> None:
    async with asyncio.timeout(_LOCK_WAIT_SECONDS):
        await connection.execute(text("SELECT pg_advisory_lock(hashtextextended(:key, 0))"), {"key": _LOCK_KEY})
    current = await _current(connection)
    if current is not None and current not in {script.revision for script in scripts.walk_revisions()}:
        raise MigrationError(f"the database of {package} is at {current}, which this version does not know: upgrade")
    # A migration that waits for a busy table would make every later query wait behind it.
    await connection.execute(text(f"SET lock_timeout = '{_TABLE_LOCK_WAIT}'"))
    await connection.commit()
    head = scripts.get_current_head()
    if current != head:
        log.info("migrating", package=package, current=current, head=head)
        await connection.run_sync(_run_scripts, config)
        await connection.commit()


def _run_scripts(connection: Connection, config: Config) -> None:
    with _one_upgrade:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


async def _create_database(url: URL) -> None:
    """Create the database that `url` names from its server's `postgres` database; another may be quicker."""
    engine = create_unpooled_engine(url.set(database="postgres"))
    try:
        async with engine.connect() as plain:
            connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
            name = connection.dialect.identifier_preparer.quote(url.database or "")
            await connection.execute(text(f"CREATE DATABASE {name}"))
    except DBAPIError as exc:
        # Two that create at once: the loser sees one of these two, depending on how close the race was.
        if not _is(exc, asyncpg.DuplicateDatabaseError.sqlstate, asyncpg.UniqueViolationError.sqlstate):
            raise
    finally:
        await engine.dispose()


def _is(exc: DBAPIError, *states: str) -> bool:
    return getattr(exc.orig, "sqlstate", None) in states
