"""The metadata of the controller's database: every table of this service is declared on `Base`."""

from __future__ import annotations

from typing import Any, ClassVar, cast

from sqlalchemy import MetaData, Table
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import DeclarativeBase

from shared.db import NAMING_CONVENTION
from shared.outbox import inbox_table, outbox_table


class Base(DeclarativeBase):
    """Base of all rows."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # JSON and not JSONB: the order of keys is part of what people write (process types, pipelines).
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, list[Any]: JSON}


def table_of(row: type[Base]) -> Table:
    """The table itself, for statements that need no mapped class."""
    return cast("Table", row.__table__)


OUTBOX = outbox_table(Base.metadata)
INBOX = inbox_table(Base.metadata)
