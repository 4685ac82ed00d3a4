"""Builds of which the runner may still have something, until it was told that they are over.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """What ended builds from before have left ends by its own deadline; those under way are cleared at their end."""
    op.add_column("builds", sa.Column("to_clear", sa.Boolean(), server_default=sa.text("false"), nullable=False))
    op.execute("UPDATE builds SET to_clear = true WHERE state IN ('requested', 'running')")
    op.create_index("ix_builds_to_clear", "builds", ["app"], postgresql_where=sa.text("to_clear"))


def downgrade() -> None:
    op.drop_index("ix_builds_to_clear", "builds")
    op.drop_column("builds", "to_clear")
