"""Tables of what outlives processes: volumes and the resources of service brokers. Secrets in them are ciphertext."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from sqlalchemy import Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.apps import Audited
from controller.schema.base import Base
from controller.schema.ingress import app_key, owner_key
from shared.db import uuid7


class VolumeRow(Audited, Base):
    """A volume; `path` is process type -> where it is mounted."""

    __tablename__ = "volumes"
    __table_args__ = (UniqueConstraint("app_uuid", "name"),)
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    name: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    size: Mapped[str] = mapped_column(Text)
    path: Mapped[dict[str, Any]]
    sealed_parameters: Mapped[str] = mapped_column(Text)


class ResourceRow(Audited, Base):
    """An instance of a service of the broker; `plan` is `<class>:<plan>`."""

    __tablename__ = "resources"
    __table_args__ = (UniqueConstraint("app_uuid", "name"),)
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    name: Mapped[str] = mapped_column(Text)
    plan: Mapped[str] = mapped_column(Text)
    status: Mapped[str | None] = mapped_column(Text)
    binding: Mapped[str | None] = mapped_column(Text)
    sealed_data: Mapped[str] = mapped_column(Text)
    sealed_options: Mapped[str] = mapped_column(Text)
