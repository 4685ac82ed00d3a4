"""Table of one-off commands: what was asked for and how it ended. The output stays with the engine."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.apps import Audited
from controller.schema.base import Base
from controller.schema.ingress import app_key, owner_key
from shared.db import UtcDateTime, uuid7


class JobRow(Audited, Base):
    """A one-off. `command` is the argument list, or one line for a shell in a list of one with `shell` true; it is
    ciphertext, as people write secrets into commands."""

    __tablename__ = "jobs"
    __table_args__ = (
        UniqueConstraint("app_uuid", "name"),
        CheckConstraint("state IN ('starting', 'up', 'down', 'crashed')", name="state"),
        Index("ix_jobs_app_uuid_created", "app_uuid", "created"),
        Index("ix_jobs_unfinished", "app_uuid", postgresql_where=text("state IN ('starting', 'up')")),
    )
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    name: Mapped[str] = mapped_column(Text)
    ptype: Mapped[str] = mapped_column(Text)
    release: Mapped[int]
    sealed_command: Mapped[str] = mapped_column(Text)
    options: Mapped[dict[str, Any]]
    state: Mapped[str] = mapped_column(Text)
    exit_code: Mapped[int | None]
    reason: Mapped[str | None] = mapped_column(Text)
    log: Mapped[list[Any]]
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
