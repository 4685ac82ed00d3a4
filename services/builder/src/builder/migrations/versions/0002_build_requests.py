"""What a build was asked for, so that another process can go on with it.

Revision ID: 0002
Revises: 0001
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

revision = "0002"
down_revision = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Builds from before have none: they ended with their process."""
    op.add_column("builds", sa.Column("request", JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("builds", "request")
