"""Accounts, sessions, clients, codes, tokens, signing keys, counters of attempts and the outbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from shared.outbox import create_outbox

revision = "0001"
down_revision = None

_TIME = sa.DateTime(timezone=True)
_TEXTS = sa.ARRAY(sa.Text())


def upgrade() -> None:
    """Create the tables."""
    _create_accounts()
    _create_clients()
    _create_tokens()
    _create_keys()
    create_outbox()


def downgrade() -> None:
    """Drop the tables."""
    for table in ("outbox", "login_attempts", "signing_keys", "access_tokens", "refresh_tokens"):
        op.drop_table(table)
    for table in ("authorization_codes", "token_families", "clients", "sessions", "accounts"):
        op.drop_table(table)


def _create_accounts() -> None:
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("first_name", sa.Text(), nullable=False),
        sa.Column("last_name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_staff", sa.Boolean(), nullable=False),
        sa.Column("is_superuser", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("last_login_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
    )
    op.create_index("uq_accounts_username", "accounts", [sa.text("lower(username)")], unique=True)
    given = sa.text("email <> ''")
    op.create_index("uq_accounts_email", "accounts", [sa.text("lower(email)")], unique=True, postgresql_where=given)
    op.create_table(
        "sessions",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("authenticated_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_sessions")),
        _to("accounts", "sessions", "account_id"),
    )
    _index("sessions", "account_id", "expires_at")


def _create_clients() -> None:
    op.create_table(
        "clients",
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("secret_digest", sa.LargeBinary(), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("redirect_uris", _TEXTS, nullable=False),
        sa.Column("grants", _TEXTS, nullable=False),
        sa.Column("scopes", _TEXTS, nullable=False),
        sa.Column("audiences", _TEXTS, nullable=False),
        sa.Column("skip_consent", sa.Boolean(), nullable=False),
        sa.Column("legacy_claims", sa.Boolean(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("updated_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("client_id", name=op.f("pk_clients")),
    )


def _create_tokens() -> None:
    op.create_table(
        "token_families",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("audiences", _TEXTS, nullable=False),
        sa.Column("authenticated_at", _TIME, nullable=True),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("revoked_at", _TIME, nullable=True),
        sa.Column("revoked_because", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_token_families")),
        _to("clients", "token_families", "client_id", key="client_id"),
        _to("accounts", "token_families", "account_id"),
    )
    _index("token_families", "client_id", "account_id", "expires_at")
    _create_codes()
    op.create_table(
        "refresh_tokens",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_refresh_tokens")),
        _to("token_families", "refresh_tokens", "family_id"),
    )
    _index("refresh_tokens", "family_id")
    op.create_table(
        "access_tokens",
        sa.Column("jti", sa.Text(), nullable=False),
        sa.Column("family_id", sa.Uuid(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("issued_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_access_tokens")),
        _to("token_families", "access_tokens", "family_id"),
    )
    _index("access_tokens", "family_id", "expires_at")


def _create_codes() -> None:
    op.create_table(
        "authorization_codes",
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("client_id", sa.Text(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("redirect_uri", sa.Text(), nullable=True),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=True),
        sa.Column("code_challenge", sa.Text(), nullable=False),
        sa.Column("authenticated_at", _TIME, nullable=False),
        sa.Column("expires_at", _TIME, nullable=False),
        sa.Column("used_at", _TIME, nullable=True),
        sa.Column("family_id", sa.Uuid(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_authorization_codes")),
        _to("clients", "authorization_codes", "client_id", key="client_id"),
        _to("accounts", "authorization_codes", "account_id"),
        _to("token_families", "authorization_codes", "family_id", ondelete="SET NULL"),
    )
    _index("authorization_codes", "client_id", "account_id", "expires_at", "family_id")


def _create_keys() -> None:
    op.create_table(
        "signing_keys",
        sa.Column("kid", sa.Text(), nullable=False),
        sa.Column("algorithm", sa.Text(), nullable=False),
        sa.Column("encrypted_key", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", _TIME, nullable=False),
        sa.Column("active_from", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("kid", name=op.f("pk_signing_keys")),
    )
    op.create_table(
        "login_attempts",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("measured_at", _TIME, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_login_attempts")),
    )
    _index("login_attempts", "measured_at")


def _to(target: str, table: str, column: str, *, key: str = "id", ondelete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    name = op.f(f"fk_{table}_{column}_{target}")
    return sa.ForeignKeyConstraint([column], [f"{target}.{key}"], name=name, ondelete=ondelete)


def _index(table: str, *columns: str) -> None:
    for column in columns:
        op.create_index(op.f(f"ix_{table}_{column}"), table, [column])
