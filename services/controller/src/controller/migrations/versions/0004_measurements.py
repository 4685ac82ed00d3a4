"""Usage records for the billing manager: how far apps are measured, and what it has not taken yet."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

from shared.db import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "measured_apps",
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("facts", JSON(), nullable=False),
        *(sa.Column(name, UtcDateTime(), nullable=False) for name in ("at", "day", "hour")),
        sa.PrimaryKeyConstraint("app_uuid", name="pk_measured_apps"),
        sa.ForeignKeyConstraint(["app_uuid"], ["apps.uuid"], name="fk_measured_apps_app_uuid_apps", ondelete="CASCADE"),
    )
    op.create_table(
        "measurements",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("record", JSON(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_measurements"),
    )


def downgrade() -> None:
    """Remove them; records that were not sent are lost."""
    op.drop_table("measurements")
    op.drop_table("measured_apps")
