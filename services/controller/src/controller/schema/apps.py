"""Tables of apps: who may use them, what they are made of, what should run, and how a rollout stands.

Users are `schema.accounts`; here they are foreign keys only.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, Text, UniqueConstraint, text
from sqlalchemy.dialects.postgresql import ARRAY, JSON
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.base import Base, sealed_instead
from shared.db import UtcDateTime, uuid7


class Audited:
    """When a row was made and last changed, UTC."""

    created: Mapped[datetime] = mapped_column(UtcDateTime)
    updated: Mapped[datetime] = mapped_column(UtcDateTime)


class AppRow(Audited, Base):
    """An app. Its row lock orders all writes of the app; `generation` counts them, `reconciled_generation` is the
    last one that the engine was told. With `deleted_at` the app is on its way out and its name still taken."""

    __tablename__ = "apps"
    __table_args__ = (
        UniqueConstraint("name"),
        Index("ix_apps_owner_id", "owner_id"),
        Index("ix_apps_name_prefix", "name", postgresql_ops={"name": "text_pattern_ops"}),
        Index(
            "ix_apps_unreconciled",
            "name",
            postgresql_where=text("generation <> reconciled_generation OR deleted_at IS NOT NULL"),
        ),
    )
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    name: Mapped[str] = mapped_column(Text)
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    generation: Mapped[int] = mapped_column(BigInteger, default=1)
    reconciled_generation: Mapped[int] = mapped_column(BigInteger, default=0)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    deleted_by: Mapped[str | None] = mapped_column(Text)


def _app_key() -> Mapped[UUID]:
    return mapped_column(ForeignKey("apps.uuid", ondelete="CASCADE"))


class AppPermissionRow(Base):
    """A grant: what a user who does not own the app may do with it."""

    __tablename__ = "app_permissions"
    __table_args__ = (
        CheckConstraint("codename IN ('view', 'change', 'delete')", name="codename"),
        Index("ix_app_permissions_user_id", "user_id"),
    )
    app_uuid: Mapped[UUID] = mapped_column(ForeignKey("apps.uuid", ondelete="CASCADE"), primary_key=True)
    user_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    codename: Mapped[str] = mapped_column(Text, primary_key=True)


class ConfigRow(Audited, Base):
    """One immutable version of an app's configuration. What may hold secrets is ciphertext: `values`, `registry`,
    and in `sealed_handlers` the probes and lifecycle handlers."""

    __tablename__ = "configs"
    __table_args__ = (Index("ix_configs_app_uuid", "app_uuid"),)
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = _app_key()
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    sealed_values: Mapped[str] = mapped_column(Text)
    sealed_registry: Mapped[str] = mapped_column(Text)
    sealed_handlers: Mapped[str | None] = sealed_instead("healthcheck", "lifecycle_post_start", "lifecycle_pre_stop")
    values_refs: Mapped[dict[str, Any]]
    lifecycle_post_start: Mapped[dict[str, Any]]
    lifecycle_pre_stop: Mapped[dict[str, Any]]
    tags: Mapped[dict[str, Any]]
    limits: Mapped[dict[str, Any]]
    healthcheck: Mapped[dict[str, Any]]
    termination_grace_period: Mapped[dict[str, Any]]


class BuildRow(Audited, Base):
    """Something that can run. The key of a pushed build is the builder's, which makes consuming it idempotent."""

    __tablename__ = "builds"
    __table_args__ = (Index("ix_builds_app_uuid", "app_uuid"),)
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = _app_key()
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    image: Mapped[str] = mapped_column(Text)
    stack: Mapped[str] = mapped_column(Text)
    sha: Mapped[str] = mapped_column(Text)
    procfile: Mapped[dict[str, Any]]
    dryccfile: Mapped[dict[str, Any]]
    sealed_dryccfile: Mapped[str | None] = sealed_instead("dryccfile")
    dockerfile: Mapped[str] = mapped_column(Text)


class ReleaseRow(Audited, Base):
    """A numbered pair of build and config."""

    __tablename__ = "releases"
    __table_args__ = (
        UniqueConstraint("app_uuid", "version"),
        CheckConstraint("state IN ('created', 'crashed', 'succeed')", name="state"),
        Index("ix_releases_build_uuid", "build_uuid"),
        Index("ix_releases_config_uuid", "config_uuid"),
    )
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = _app_key()
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    version: Mapped[int]
    state: Mapped[str] = mapped_column(Text, default="created")
    failed: Mapped[bool] = mapped_column(default=False)
    summary: Mapped[str | None] = mapped_column(Text)
    exception: Mapped[str | None] = mapped_column(Text)
    conditions: Mapped[list[Any]]
    deployed_ptypes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    config_uuid: Mapped[UUID] = mapped_column(ForeignKey("configs.uuid", ondelete="CASCADE"))
    build_uuid: Mapped[UUID | None] = mapped_column(ForeignKey("builds.uuid", ondelete="CASCADE"))


class AppSettingsRow(Audited, Base):
    """One version of an app's settings; the newest counts."""

    __tablename__ = "app_settings"
    __table_args__ = (Index("ix_app_settings_app_uuid_created", "app_uuid", "created"),)
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = _app_key()
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    routable: Mapped[bool]
    autodeploy: Mapped[bool]
    autorollback: Mapped[bool]
    autoscale: Mapped[dict[str, Any]]
    label: Mapped[dict[str, Any]]


class ProcessRow(Audited, Base):
    """What one process type should be: how many instances, of which release (null: none yet)."""

    __tablename__ = "processes"
    __table_args__ = (CheckConstraint("replicas >= 0", name="replicas"),)
    app_uuid: Mapped[UUID] = mapped_column(ForeignKey("apps.uuid", ondelete="CASCADE"), primary_key=True)
    ptype: Mapped[str] = mapped_column(Text, primary_key=True)
    replicas: Mapped[int]
    release: Mapped[int | None]
    restart_token: Mapped[str] = mapped_column(Text, default="")


class RolloutRow(Audited, Base):
    """One attempt to bring process types to a release. At most one per app is under way."""

    __tablename__ = "rollouts"
    __table_args__ = (
        CheckConstraint(
            "state IN ('pending', 'release_phase', 'rolling', 'succeeded', 'failed', 'superseded')", name="state"
        ),
        Index("ix_rollouts_app_uuid_created", "app_uuid", "created"),
        Index(
            "uq_rollouts_active",
            "app_uuid",
            unique=True,
            postgresql_where=text("state IN ('pending', 'release_phase', 'rolling')"),
        ),
    )
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = _app_key()
    version: Mapped[int]
    state: Mapped[str] = mapped_column(Text)
    ptypes: Mapped[list[str]] = mapped_column(ARRAY(Text))
    restart_token: Mapped[str] = mapped_column(Text)
    previous: Mapped[dict[str, Any]]
    step: Mapped[int] = mapped_column(default=0)
    progress: Mapped[int] = mapped_column(default=0)
    deadline_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    failure: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
