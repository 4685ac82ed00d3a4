"""The digest of the code that the first account needs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "bootstrap_code",
        sa.Column("id", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bootstrap_code")),
        sa.CheckConstraint("id = 1", name=op.f("ck_bootstrap_code_one_row")),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("bootstrap_code")
