"""The metadata of the controller's database: every table of this service is declared on `Base`."""

from __future__ import annotations

from typing import Any, ClassVar, Final, cast

from sqlalchemy import MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import DeclarativeBase, MappedColumn, mapped_column

from shared.db import NAMING_CONVENTION
from shared.outbox import inbox_table, outbox_table

INSTEAD: Final = "sealed_instead_of"


class Base(DeclarativeBase):
    """Base of all rows."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    # JSON and not JSONB: the order of keys is part of what people write (process types, pipelines).
    type_annotation_map: ClassVar[dict[Any, Any]] = {dict[str, Any]: JSON, list[Any]: JSON}


def table_of(row: type[Base]) -> Table:
    """The table itself, for statements that need no mapped class."""
    return cast("Table", row.__table__)


def sealed_instead(*columns: str) -> MappedColumn[str | None]:
    """A column of ciphertext: an object that holds, by name, what earlier versions stored in clear in these JSON
    columns. They are empty (`{}`) in new rows, and it is null where there is nothing to seal."""
    return mapped_column(Text, info={INSTEAD: columns})


OUTBOX = outbox_table(Base.metadata)
INBOX = inbox_table(Base.metadata)
