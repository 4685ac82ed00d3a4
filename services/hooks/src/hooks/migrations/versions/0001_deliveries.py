"""Deliveries and the inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

from shared.outbox import create_inbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "deliveries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("target", sa.Text(), nullable=False, comment="SHA-256 of the configured URL"),
        sa.Column("url", sa.Text(), nullable=False, comment="the URL without what may be secret in it"),
        sa.Column("app", sa.Text(), nullable=False),
        sa.Column("facts", JSONB(), nullable=False, comment="version, summary, sha, user"),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("give_up_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("response_status", sa.Integer(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("event_id", "target", name=op.f("uq_deliveries_event_id_target")),
        sa.CheckConstraint("state IN ('pending', 'delivered', 'failed')", name=op.f("ck_deliveries_state")),
    )
    pending = sa.text("state = 'pending'")
    op.create_index("ix_deliveries_due", "deliveries", ["next_attempt_at"], postgresql_where=pending)
    op.create_index("ix_deliveries_app_id", "deliveries", ["app", "id"])
    op.create_index("ix_deliveries_finished_at", "deliveries", ["finished_at"])
    create_inbox()


def downgrade() -> None:
    """Drop the tables."""
    op.drop_table("inbox")
    op.drop_table("deliveries")
