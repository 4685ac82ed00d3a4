"""The tables `deliveries` and `inbox`."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from shared.db import NAMING_CONVENTION, UtcDateTime
from shared.outbox import inbox_table

metadata = sa.MetaData(naming_convention=NAMING_CONVENTION)

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", sa.Uuid(), primary_key=True),
    sa.Column("event_id", sa.Text(), nullable=False),
    sa.Column("target", sa.Text(), nullable=False, comment="SHA-256 of the configured URL"),
    sa.Column("url", sa.Text(), nullable=False, comment="the URL without what may be secret in it"),
    sa.Column("app", sa.Text(), nullable=False),
    sa.Column("facts", JSONB(), nullable=False, comment="version, summary, sha, user"),
    sa.Column("state", sa.Text(), nullable=False),
    sa.Column("attempts", sa.Integer(), nullable=False),
    sa.Column("next_attempt_at", UtcDateTime(), nullable=False),
    sa.Column("give_up_at", UtcDateTime(), nullable=False),
    sa.Column("leased_until", UtcDateTime(), nullable=True),
    sa.Column("response_status", sa.Integer(), nullable=True),
    sa.Column("last_error", sa.Text(), nullable=True),
    sa.Column("created_at", UtcDateTime(), nullable=False),
    sa.Column("finished_at", UtcDateTime(), nullable=True),
    sa.UniqueConstraint("event_id", "target"),
    sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name="state"),
)
sa.Index("ix_deliveries_due", deliveries.c.next_attempt_at, postgresql_where=sa.text("state = 'pending'"))
sa.Index("ix_deliveries_app_id", deliveries.c.app, deliveries.c.id)
sa.Index("ix_deliveries_finished_at", deliveries.c.finished_at)

inbox = inbox_table(metadata)
