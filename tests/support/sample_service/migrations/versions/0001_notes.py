"""Notes, outbox and inbox."""

import sqlalchemy as sa
from alembic import op

from shared.outbox import create_inbox, create_outbox

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "notes",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_notes"),
    )
    create_outbox()
    create_inbox()
