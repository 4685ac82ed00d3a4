"""Fresh databases in a moment: each is a copy of a template that was migrated once."""

from __future__ import annotations

import asyncio
import itertools
from collections import defaultdict
from collections.abc import Callable

from sqlalchemy import text
from sqlalchemy.engine import make_url

from shared.db import migrate
from shared.db.database import create_unpooled_engine

_EMPTY = "template1"


class TemplateDatabases:
    """Databases on one server. `url_for` gives the URL of a database by its name."""

    def __init__(self, url_for: Callable[[str], str]) -> None:
        self._url_for = url_for
        self._numbers = itertools.count(1)
        self._migrated: set[str] = set()
        self._one_at_a_time: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def create(self, package: str | None = None) -> str:
        """URL of a new database with the tables of `package` (with none when that is None)."""
        template = await self._template(package) if package else _EMPTY
        name = f"test_{package or 'empty'}_{next(self._numbers)}"
        async with self._one_at_a_time[template]:  # PostgreSQL refuses to copy a template that is in use
            await self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self._url_for(name)

    async def drop(self, url: str) -> None:
        """Remove a database that `create` made, whoever is still connected to it."""
        await self._execute(f'DROP DATABASE "{make_url(url).database}" WITH (FORCE)')

    async def _template(self, package: str) -> str:
        name = f"template_{package}"
        async with self._one_at_a_time[name]:
            if package not in self._migrated:
                await migrate(self._url_for(name), package)
                self._migrated.add(package)
        return name

    async def _execute(self, statement: str) -> None:
        engine = create_unpooled_engine(self._url_for("postgres"))
        try:
            async with engine.connect() as plain:
                connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
                await connection.execute(text(statement))
        finally:
            await engine.dispose()
