"""A transfer forgets no table."""

from __future__ import annotations

import importlib
import pkgutil

from controller import schema
from controller.repositories.ownership import OWNED
from controller.schema.base import Base


def test_every_part_of_an_app_that_has_an_owner_changes_hands() -> None:
    for module in pkgutil.iter_modules(schema.__path__):
        importlib.import_module(f"controller.schema.{module.name}")
    tables = Base.metadata.tables.values()
    owned = {table.name for table in tables if {"app_uuid", "owner_id"} <= set(table.columns.keys())}
    assert {row.__tablename__ for row in OWNED} == owned
