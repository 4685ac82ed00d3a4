"""The tables of the database `builder`. Rows never leave the package `repositories`."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, Index, MetaData, String, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from shared.db import NAMING_CONVENTION, UtcDateTime
from shared.outbox import inbox_table, outbox_table

metadata = MetaData(naming_convention=NAMING_CONVENTION)
outbox = outbox_table(metadata)
inbox = inbox_table(metadata)

STATES = "'requested', 'running', 'succeeded', 'failed', 'cancelled'"
VERDICTS = "'deployed', 'failed', 'rejected'"


class Base(DeclarativeBase):
    """Base of the mapped classes."""

    metadata = metadata


class BuildRow(Base):
    """One build. `code` and `message` are set when it failed or was cancelled; `request` is what it was asked for, but
    for the app's config."""

    __tablename__ = "builds"
    __table_args__ = (
        UniqueConstraint("app", "number"),
        CheckConstraint(f"state IN ({STATES})", name="state"),
        CheckConstraint(f"verdict IN ({VERDICTS})", name="verdict"),
        # Recovery at start looks for these only, and there are never many.
        Index("ix_builds_unfinished", "state", postgresql_where="state IN ('requested', 'running')"),
        Index("ix_builds_products", "app", postgresql_where="images IS NOT NULL"),
        Index("ix_builds_to_clear", "app", postgresql_where="to_clear"),
        Index("ix_builds_unreleased", "app", postgresql_where="release_request IS NOT NULL"),
    )

    id: Mapped[UUID] = mapped_column(primary_key=True)
    app: Mapped[str] = mapped_column(String(63))
    number: Mapped[int] = mapped_column(BigInteger)
    actor: Mapped[str] = mapped_column(Text)
    sha: Mapped[str] = mapped_column(String(64))
    branch: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(String(16))
    requested_at: Mapped[datetime] = mapped_column(UtcDateTime)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    release_version: Mapped[int | None] = mapped_column(BigInteger)
    verdict: Mapped[str | None] = mapped_column(String(16))
    verdict_code: Mapped[str | None] = mapped_column(String(64))
    verdict_message: Mapped[str | None] = mapped_column(Text)
    deployed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    request: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    # References of what it has made; none where they are not known, null when there is nothing (any more).
    images: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    # The runner may still have something of it besides what it has made: it is to be told that the build is over.
    to_clear: Mapped[bool] = mapped_column(server_default=text("false"))
    # What the controller is asked for over HTTP, until the end of it is known, and when it was asked.
    release_request: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True), deferred=True)
    release_asked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
