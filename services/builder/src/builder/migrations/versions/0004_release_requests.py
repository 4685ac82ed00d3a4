"""Releases that the controller is asked for over HTTP: what is asked, until its end is known, and when it was.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

from shared.db import UtcDateTime

revision = "0004"
down_revision = "0003"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Builds from before were told by events: nothing is to be asked for them."""
    op.add_column("builds", sa.Column("release_request", JSON(), nullable=True))
    op.add_column("builds", sa.Column("release_asked_at", UtcDateTime(), nullable=True))
    op.create_index("ix_builds_unreleased", "builds", ["app"], postgresql_where=sa.text("release_request IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_builds_unreleased", table_name="builds")
    op.drop_column("builds", "release_asked_at")
    op.drop_column("builds", "release_request")
