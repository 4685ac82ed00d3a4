"""The migrations make exactly the tables that the code declares."""

from __future__ import annotations

from typing import Any

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection

from controller.schema import (  # noqa: F401  (declares the tables)
    accounts,
    apps,
    audit,
    domains,
    ingress,
    jobs,
    measurements,
    storage,
)
from controller.schema.base import Base
from shared.db.database import create_unpooled_engine
from support.fixtures import MakeDatabase


def _differences(connection: Connection) -> list[Any]:
    return list(compare_metadata(MigrationContext.configure(connection, opts={"compare_type": True}), Base.metadata))


async def test_tables_are_as_declared(make_database: MakeDatabase) -> None:
    engine = create_unpooled_engine(await make_database("controller"))
    try:
        async with engine.connect() as connection:
            assert await connection.run_sync(_differences) == []
    finally:
        await engine.dispose()
