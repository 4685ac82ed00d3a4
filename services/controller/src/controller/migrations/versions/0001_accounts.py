"""Users, access tokens, SSH keys and logins under way."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.db import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _users()
    _tokens()
    _keys()
    _login_attempts()


def downgrade() -> None:
    """Drop them again."""
    for table in ("login_attempts", "keys", "tokens", "users"):
        op.drop_table(table)


def _users() -> None:
    op.create_table(
        "users",
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("username", "email", "first_name", "last_name")),
        *(sa.Column(name, sa.Boolean(), nullable=False) for name in ("is_active", "is_staff", "is_superuser")),
        sa.Column("last_login", UtcDateTime(), nullable=True),
        sa.Column("date_joined", UtcDateTime(), nullable=False),
        sa.Column("confirmed_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_users"),
        sa.UniqueConstraint("username", name="uq_users_username"),
    )


def _tokens() -> None:
    op.create_table(
        "tokens",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("fuzzy_key", sa.Text(), nullable=False),
        sa.Column("sealed_refresh_token", sa.Text(), nullable=True),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("updated", UtcDateTime(), nullable=False),
        sa.Column("last_used_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("uuid", name="pk_tokens"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_tokens_owner_id_users"),
        sa.UniqueConstraint("digest", name="uq_tokens_digest"),
    )
    op.create_index("ix_tokens_owner_id_created", "tokens", ["owner_id", "created"])


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("name", "public", "fingerprint", "sha256")),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("updated", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_keys"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_keys_owner_id_users", ondelete="CASCADE"),
        sa.UniqueConstraint("owner_id", "name", name="uq_keys_owner_id_name"),
        sa.UniqueConstraint("fingerprint", name="uq_keys_fingerprint"),
        sa.UniqueConstraint("sha256", name="uq_keys_sha256"),
    )


def _login_attempts() -> None:
    op.create_table(
        "login_attempts",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("key_digest", sa.LargeBinary(), nullable=False),
        sa.Column("state_digest", sa.LargeBinary(), nullable=True),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("mode", "status", "hint", "address", "client")),
        sa.Column("sealed_exchange", sa.Text(), nullable=True),
        sa.Column("user_id", sa.BigInteger(), nullable=True),
        sa.Column("sealed_refresh_token", sa.Text(), nullable=True),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.Column("expires_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name="pk_login_attempts"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_login_attempts_user_id_users", ondelete="CASCADE"),
        sa.UniqueConstraint("key_digest", name="uq_login_attempts_key_digest"),
        sa.UniqueConstraint("state_digest", name="uq_login_attempts_state_digest"),
        sa.CheckConstraint("mode IN ('browser', 'password')", name="mode"),
        sa.CheckConstraint("status IN ('pending', 'approved', 'denied')", name="status"),
    )
    op.create_index("ix_login_attempts_expires_at", "login_attempts", ["expires_at"])
