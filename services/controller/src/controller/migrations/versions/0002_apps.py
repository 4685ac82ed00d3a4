"""Apps: grants, configs, builds, releases, settings, processes, rollouts; outbox and inbox."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSON

from shared.db import UtcDateTime
from shared.outbox import create_inbox, create_outbox

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    _apps()
    _app_permissions()
    _configs()
    _builds()
    _releases()
    _app_settings()
    _processes()
    _rollouts()
    create_outbox()
    create_inbox()


def downgrade() -> None:
    """Remove them, with all that is in them."""
    for table in (
        "inbox",
        "outbox",
        "rollouts",
        "processes",
        "app_settings",
        "releases",
        "builds",
        "configs",
        "app_permissions",
        "apps",
    ):
        op.drop_table(table)


def _apps() -> None:
    op.create_table(
        "apps",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        sa.Column("generation", sa.BigInteger(), nullable=False),
        sa.Column("reconciled_generation", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", UtcDateTime()),
        sa.Column("deleted_by", sa.Text()),
        *_audited(),
        sa.PrimaryKeyConstraint("uuid", name="pk_apps"),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_apps_owner_id_users"),
        sa.UniqueConstraint("name", name="uq_apps_name"),
    )
    op.create_index("ix_apps_owner_id", "apps", ["owner_id"])
    op.create_index("ix_apps_name_prefix", "apps", ["name"], postgresql_ops={"name": "text_pattern_ops"})
    unreconciled = sa.text("generation <> reconciled_generation OR deleted_at IS NOT NULL")
    op.create_index("ix_apps_unreconciled", "apps", ["name"], postgresql_where=unreconciled)


def _app_permissions() -> None:
    op.create_table(
        "app_permissions",
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.BigInteger(), nullable=False),
        sa.Column("codename", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("app_uuid", "user_id", "codename", name="pk_app_permissions"),
        _of_app("app_permissions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_app_permissions_user_id_users", ondelete="CASCADE"),
        sa.CheckConstraint("codename IN ('view', 'change', 'delete')", name="codename"),
    )
    op.create_index("ix_app_permissions_user_id", "app_permissions", ["user_id"])


def _configs() -> None:
    fields = ("values_refs", "lifecycle_post_start", "lifecycle_pre_stop", "tags", "limits", "healthcheck")
    op.create_table(
        "configs",
        *_owned("configs"),
        sa.Column("sealed_values", sa.Text(), nullable=False),
        sa.Column("sealed_registry", sa.Text(), nullable=False),
        *(sa.Column(name, JSON(), nullable=False) for name in (*fields, "termination_grace_period")),
    )
    op.create_index("ix_configs_app_uuid", "configs", ["app_uuid"])


def _builds() -> None:
    op.create_table(
        "builds",
        *_owned("builds"),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("image", "stack", "sha", "dockerfile")),
        sa.Column("procfile", JSON(), nullable=False),
        sa.Column("dryccfile", JSON(), nullable=False),
    )
    op.create_index("ix_builds_app_uuid", "builds", ["app_uuid"])


def _releases() -> None:
    op.create_table(
        "releases",
        *_owned("releases"),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("failed", sa.Boolean(), nullable=False),
        sa.Column("summary", sa.Text()),
        sa.Column("exception", sa.Text()),
        sa.Column("conditions", JSON(), nullable=False),
        sa.Column("deployed_ptypes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("config_uuid", sa.Uuid(), nullable=False),
        sa.Column("build_uuid", sa.Uuid()),
        sa.UniqueConstraint("app_uuid", "version", name="uq_releases_app_uuid_version"),
        sa.CheckConstraint("state IN ('created', 'crashed', 'succeed')", name="state"),
        sa.ForeignKeyConstraint(
            ["config_uuid"], ["configs.uuid"], name="fk_releases_config_uuid_configs", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["build_uuid"], ["builds.uuid"], name="fk_releases_build_uuid_builds", ondelete="CASCADE"
        ),
    )
    op.create_index("ix_releases_build_uuid", "releases", ["build_uuid"])
    op.create_index("ix_releases_config_uuid", "releases", ["config_uuid"])


def _app_settings() -> None:
    op.create_table(
        "app_settings",
        *_owned("app_settings"),
        *(sa.Column(name, sa.Boolean(), nullable=False) for name in ("routable", "autodeploy", "autorollback")),
        sa.Column("autoscale", JSON(), nullable=False),
        sa.Column("label", JSON(), nullable=False),
    )
    op.create_index("ix_app_settings_app_uuid_created", "app_settings", ["app_uuid", "created"])


def _processes() -> None:
    op.create_table(
        "processes",
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("ptype", sa.Text(), nullable=False),
        sa.Column("replicas", sa.Integer(), nullable=False),
        sa.Column("release", sa.Integer()),
        sa.Column("restart_token", sa.Text(), nullable=False),
        *_audited(),
        sa.PrimaryKeyConstraint("app_uuid", "ptype", name="pk_processes"),
        _of_app("processes"),
        sa.CheckConstraint("replicas >= 0", name="replicas"),
    )


def _rollouts() -> None:
    states = "'pending', 'release_phase', 'rolling', 'succeeded', 'failed', 'superseded'"
    op.create_table(
        "rollouts",
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("ptypes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("restart_token", sa.Text(), nullable=False),
        sa.Column("previous", JSON(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("progress", sa.Integer(), nullable=False),
        sa.Column("deadline_at", UtcDateTime()),
        sa.Column("failure", JSON()),
        sa.Column("finished_at", UtcDateTime()),
        *_audited(),
        sa.PrimaryKeyConstraint("uuid", name="pk_rollouts"),
        _of_app("rollouts"),
        sa.CheckConstraint(f"state IN ({states})", name="state"),
    )
    op.create_index("ix_rollouts_app_uuid_created", "rollouts", ["app_uuid", "created"])
    active = sa.text("state IN ('pending', 'release_phase', 'rolling')")
    op.create_index("uq_rollouts_active", "rollouts", ["app_uuid"], unique=True, postgresql_where=active)


def _owned(table: str) -> tuple[sa.schema.SchemaItem, ...]:
    """Key, app, owner and times of a table whose rows people make."""
    return (
        sa.Column("uuid", sa.Uuid(), nullable=False),
        sa.Column("app_uuid", sa.Uuid(), nullable=False),
        sa.Column("owner_id", sa.BigInteger(), nullable=False),
        *_audited(),
        sa.PrimaryKeyConstraint("uuid", name=f"pk_{table}"),
        _of_app(table),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=f"fk_{table}_owner_id_users"),
    )


def _of_app(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["app_uuid"], ["apps.uuid"], name=f"fk_{table}_app_uuid_apps", ondelete="CASCADE")


def _audited() -> tuple[sa.Column[object], ...]:
    return tuple(sa.Column(name, UtcDateTime(), nullable=False) for name in ("created", "updated"))
