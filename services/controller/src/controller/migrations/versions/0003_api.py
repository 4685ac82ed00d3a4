"""The rest of the API: network, certificates, storage, one-offs, audit trail, repeated requests, blocklist."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

from shared.db import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_TABLES = (
    "services", "gateways", "routes", "certificates", "domains", "tls", "volumes", "resources", "jobs",
    "audit_log", "idempotency_keys", "blocklist",
)  # fmt: skip


def upgrade() -> None:
    """Create the tables."""
    _network()
    _certificates()
    _domains()
    _tls()
    _storage()
    _jobs()
    _audit_log()
    _idempotency_keys()
    _blocklist()
    op.add_column("users", sa.Column("disabled_at", UtcDateTime()))


def downgrade() -> None:
    """Remove them, with all that is in them."""
    op.drop_column("users", "disabled_at")
    op.drop_constraint("fk_domains_certificate_id_certificates", "domains")
    for table in reversed(_TABLES):
        op.drop_table(table)


def _network() -> None:
    op.create_table(
        "services",
        *_numbered("services"),
        _text("ptype"),
        _json("ports"),
        sa.UniqueConstraint("app_uuid", "ptype", name="uq_services_app_uuid_ptype"),
    )
    op.create_table("gateways", *_numbered("gateways"), *_named("gateways"), _json("ports"))
    op.create_table(
        "routes",
        *_numbered("routes"),
        *_named("routes"),
        _text("kind"),
        _json("rules"),
        sa.Column("routable", sa.Boolean(), nullable=False),
        _json("parent_refs"),
    )


def _certificates() -> None:
    op.create_table(
        "certificates",
        *_numbered("certificates"),
        *_named("certificates"),
        *(_text(name) for name in ("certificate", "sealed_key", "fingerprint", "issuer", "subject")),
        sa.Column("common_name", sa.Text()),
        _json("san"),
        sa.Column("expires", UtcDateTime(), nullable=False),
        sa.Column("starts", UtcDateTime(), nullable=False),
    )


def _domains() -> None:
    op.create_table(
        "domains",
        *_numbered("domains"),
        *(_text(name) for name in ("domain", "sent", "ptype")),
        sa.Column("certificate_id", sa.BigInteger()),
        sa.UniqueConstraint("domain", name="uq_domains_domain"),
        sa.ForeignKeyConstraint(
            ["certificate_id"],
            ["certificates.id"],
            name="fk_domains_certificate_id_certificates",
            ondelete="SET NULL",
        ),
    )
    op.create_index("ix_domains_app_uuid", "domains", ["app_uuid"])
    op.create_index("ix_domains_certificate_id", "domains", ["certificate_id"])


def _tls() -> None:
    op.create_table(
        "tls",
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        *_audited(),
        _text("sealed_issuer"),
        sa.Column("https_enforced", sa.Boolean()),
        sa.Column("certs_auto_enabled", sa.Boolean()),
        sa.PrimaryKeyConstraint("app_uuid", name="pk_tls"),
        *_references("tls"),
    )


def _storage() -> None:
    op.create_table(
        "volumes",
        *_keyed("volumes"),
        *_named("volumes"),
        *(_text(name) for name in ("type", "size", "sealed_parameters")),
        _json("path"),
    )
    op.create_table(
        "resources",
        *_keyed("resources"),
        *_named("resources"),
        *(_text(name) for name in ("plan", "sealed_data", "sealed_options")),
        sa.Column("status", sa.Text()),
        sa.Column("binding", sa.Text()),
    )


def _jobs() -> None:
    op.create_table(
        "jobs",
        *_keyed("jobs"),
        *_named("jobs"),
        *(_text(name) for name in ("ptype", "sealed_command", "state")),
        sa.Column("release", sa.Integer(), nullable=False),
        _json("options"),
        sa.Column("exit_code", sa.Integer()),
        sa.Column("reason", sa.Text()),
        _json("log"),
        *(sa.Column(name, UtcDateTime()) for name in ("started_at", "finished_at", "expires_at")),
        sa.CheckConstraint("state IN ('starting', 'up', 'down', 'crashed')", name="state"),
    )
    op.create_index("ix_jobs_app_uuid_created", "jobs", ["app_uuid", "created"])
    unfinished = sa.text("state IN ('starting', 'up')")
    op.create_index("ix_jobs_unfinished", "jobs", ["app_uuid"], postgresql_where=unfinished)


def _audit_log() -> None:
    op.create_table(
        "audit_log",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("app", sa.Text()),
        *(_text(name) for name in ("actor", "action", "target", "source")),
        sa.Column("address", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("before", JSON()),
        sa.Column("after", JSON()),
        sa.PrimaryKeyConstraint("uuid", name="pk_audit_log"),
    )
    op.create_index("ix_audit_log_app_uuid", "audit_log", ["app", "uuid"])
    op.create_index("ix_audit_log_at", "audit_log", ["at"])


def _idempotency_keys() -> None:
    op.create_table(
        "idempotency_keys",
        *(_text(name) for name in ("caller", "key")),
        sa.Column("request_digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        _text("sealed_answer"),
        sa.Column("created", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("caller", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_created", "idempotency_keys", ["created"])


def _blocklist() -> None:
    op.create_table(
        "blocklist",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        _text("id"),
        sa.Column("type", sa.Integer(), nullable=False),
        _text("remark"),
        *_audited(),
        sa.PrimaryKeyConstraint("uuid", name="pk_blocklist"),
        sa.UniqueConstraint("id", "type", name="uq_blocklist_id_type"),
        sa.CheckConstraint("type IN (1, 2)", name="type"),
    )


def _numbered(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    """Integer key, app, owner and times."""
    return (
        sa.Column("id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=f"pk_{table}"),
        *_of_someone(table),
    )


def _keyed(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    """UUID key, app, owner and times."""
    return (
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=f"pk_{table}"),
        *_of_someone(table),
    )


def _of_someone(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        *_audited(),
        *_references(table),
    )


def _references(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (
        sa.ForeignKeyConstraint(["app_uuid"], ["apps.uuid"], name=f"fk_{table}_app_uuid_apps", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=f"fk_{table}_owner_id_users"),
    )


def _named(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    return (_text("name"), sa.UniqueConstraint("app_uuid", "name", name=f"uq_{table}_app_uuid_name"))


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), nullable=False)


def _json(name: str) -> sa.Column[object]:
    return sa.Column(name, JSON(), nullable=False)


def _audited() -> tuple[sa.Column[object], ...]:
    return tuple(sa.Column(name, UtcDateTime(), nullable=False) for name in ("created", "updated"))
