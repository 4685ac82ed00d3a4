"""The metadata of the database `passport`."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar

from sqlalchemy import ARRAY, LargeBinary, MetaData, Text
from sqlalchemy.orm import DeclarativeBase

from shared.db import NAMING_CONVENTION, UtcDateTime
from shared.outbox import outbox_table


class Base(DeclarativeBase):
    """Base of all tables; says how Python types are stored."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map: ClassVar[dict[Any, Any]] = {
        str: Text,
        bytes: LargeBinary,
        datetime: UtcDateTime,
        list[str]: ARRAY(Text),
    }


outbox = outbox_table(Base.metadata)
