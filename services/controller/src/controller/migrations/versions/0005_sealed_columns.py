"""Ciphertext for what held secrets in clear: files of pipelines, probes and handlers, and digests of requests.

The columns that it replaces stay for the rows of earlier versions, until `rotate-keys` has sealed them.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns. Nothing is rewritten: all of this changes the catalogue alone."""
    op.add_column("builds", sa.Column("sealed_dryccfile", sa.Text()))
    op.add_column("configs", sa.Column("sealed_handlers", sa.Text()))
    op.alter_column("idempotency_keys", "request_digest", nullable=True)


def downgrade() -> None:
    """Remove them; what was sealed is lost, and answers to requests with a key are forgotten."""
    op.execute("DELETE FROM idempotency_keys WHERE request_digest IS NULL")
    op.alter_column("idempotency_keys", "request_digest", nullable=False)
    op.drop_column("configs", "sealed_handlers")
    op.drop_column("builds", "sealed_dryccfile")
