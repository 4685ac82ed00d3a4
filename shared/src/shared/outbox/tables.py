"""The tables `outbox` and `inbox`, for a service's metadata and for its migrations."""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    Identity,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    Uuid,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import JSON

from shared.db.types import NAMING_CONVENTION, UtcDateTime

PENDING = "published_at IS NULL AND dead_at IS NULL"


def outbox_table(metadata: MetaData) -> Table:
    """Events to be published. A row is pending until `published_at` or `dead_at` is set.

    `lease_owner` publishes it until `leased_until`; `seq` orders the events of one subject, provided that their
    writers hold a lock on that subject (they do: each takes its aggregate's row lock first).
    """
    return Table(
        "outbox",
        metadata,
        Column("seq", BigInteger, Identity(), primary_key=True),
        Column("event_id", Text, nullable=False, unique=True),
        Column("subject", Text, nullable=False),
        Column("routing_key", Text, nullable=False),
        Column("envelope", JSON, nullable=False),  # not JSONB: the order of keys in an event is kept
        Column("created_at", UtcDateTime, nullable=False, server_default=func.now()),
        Column("attempts", Integer, nullable=False, server_default=text("0")),
        Column("next_attempt_at", UtcDateTime),
        Column("lease_owner", Uuid),
        Column("leased_until", UtcDateTime),
        Column("published_at", UtcDateTime),
        Column("dead_at", UtcDateTime),
        Column("last_error", Text),
        Index("ix_outbox_pending", "subject", "seq", postgresql_where=text(PENDING)),
        Index("ix_outbox_published_at", "published_at", postgresql_where=text("published_at IS NOT NULL")),
        Index("ix_outbox_dead_at", "dead_at", postgresql_where=text("dead_at IS NOT NULL")),
    )


def inbox_table(metadata: MetaData) -> Table:
    """Which consumer has handled which event."""
    return Table(
        "inbox",
        metadata,
        Column("consumer", Text, nullable=False),
        Column("event_id", Text, nullable=False),
        Column("received_at", UtcDateTime, nullable=False, server_default=func.now()),
        PrimaryKeyConstraint("consumer", "event_id"),
        Index("ix_inbox_received_at", "received_at"),
    )


def create_outbox() -> None:
    """Create the outbox in a migration: `create_outbox()` in `upgrade()`."""
    outbox_table(MetaData(naming_convention=NAMING_CONVENTION)).create(op.get_bind())


def create_inbox() -> None:
    """Create the inbox in a migration: `create_inbox()` in `upgrade()`."""
    inbox_table(MetaData(naming_convention=NAMING_CONVENTION)).create(op.get_bind())
