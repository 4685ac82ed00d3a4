"""Notes are not empty."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.create_check_constraint("ck_notes_body", "notes", "length(body) > 0")
