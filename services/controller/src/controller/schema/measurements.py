"""Tables of usage records: what was measured last of each app, and the records that the manager has not taken yet.

Empty where there is no manager.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.base import Base
from shared.db import UtcDateTime, uuid7


class MeasuredAppRow(Base):
    """How far an app has been measured: at `at` when its `mark` was that one, all told for `day`, and what goes by the
    hour until `hour`. `facts` are what was found, so that a change tells only what is new."""

    __tablename__ = "measured_apps"
    app_uuid: Mapped[UUID] = mapped_column(ForeignKey("apps.uuid", ondelete="CASCADE"), primary_key=True)
    mark: Mapped[str] = mapped_column(Text)
    facts: Mapped[list[Any]]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    day: Mapped[datetime] = mapped_column(UtcDateTime)
    hour: Mapped[datetime] = mapped_column(UtcDateTime)


class MeasurementRow(Base):
    """A record as it is sent, gone when the manager has taken it; it outlives its app. Not to be sent before `due_at`:
    somebody is sending it, or it was refused, so many times as `attempts` says."""

    __tablename__ = "measurements"
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    record: Mapped[dict[str, Any]]
    attempts: Mapped[int]
    due_at: Mapped[datetime] = mapped_column(UtcDateTime)
