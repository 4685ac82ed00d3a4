"""Builds, outbox and inbox.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op

from shared.db import UtcDateTime
from shared.outbox import create_inbox, create_outbox

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    op.create_table(
        "builds",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("app", sa.String(63), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("sha", sa.String(64), nullable=False),
        sa.Column("branch", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("requested_at", UtcDateTime(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("code", sa.String(64), nullable=True),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("release_version", sa.BigInteger(), nullable=True),
        sa.Column("verdict", sa.String(16), nullable=True),
        sa.Column("verdict_code", sa.String(64), nullable=True),
        sa.Column("verdict_message", sa.Text(), nullable=True),
        sa.Column("deployed_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_builds")),
        sa.UniqueConstraint("app", "number", name=op.f("uq_builds_app_number")),
        sa.CheckConstraint(
            "state IN ('requested', 'running', 'succeeded', 'failed', 'cancelled')", name=op.f("ck_builds_state")
        ),
        sa.CheckConstraint("verdict IN ('deployed', 'failed', 'rejected')", name=op.f("ck_builds_verdict")),
    )
    op.create_index(
        "ix_builds_unfinished", "builds", ["state"], postgresql_where=sa.text("state IN ('requested', 'running')")
    )
    create_outbox()
    create_inbox()


def downgrade() -> None:
    op.drop_table("inbox")
    op.drop_table("outbox")
    op.drop_table("builds")
