"""The images of each build, until they are removed.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0003"
down_revision = "0002"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """What builds from before have made is not known by name; that they have made something is."""
    op.add_column("builds", sa.Column("images", JSON(), nullable=True))
    op.execute("UPDATE builds SET images = '[]' WHERE state = 'succeeded'")
    op.create_index("ix_builds_products", "builds", ["app"], postgresql_where=sa.text("images IS NOT NULL"))


def downgrade() -> None:
    op.drop_index("ix_builds_products", "builds")
    op.drop_column("builds", "images")
