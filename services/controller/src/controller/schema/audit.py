"""Tables about requests themselves: the audit trail, answers kept for repeated requests, and who is blocked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.dialects.postgresql import JSON
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.apps import Audited
from controller.schema.base import Base
from shared.db import UtcDateTime, uuid7

BLOCKED_APP: Final = 1
BLOCKED_USER: Final = 2


class AuditRow(Base):
    """Who did what, from where, and what it was before and after, without secrets. Outlives the app it is about."""

    __tablename__ = "audit_log"
    __table_args__ = (Index("ix_audit_log_app_uuid", "app", "uuid"), Index("ix_audit_log_at", "at"))
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    app: Mapped[str | None] = mapped_column(Text)
    actor: Mapped[str] = mapped_column(Text)
    action: Mapped[str] = mapped_column(Text)
    target: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    address: Mapped[str | None] = mapped_column(Text)
    request_id: Mapped[str | None] = mapped_column(Text)
    before: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)
    after: Mapped[Any] = mapped_column(JSON(none_as_null=True), nullable=True)


class IdempotencyRow(Base):
    """The answer to a POST that carried an idempotency key, written in the transaction of its effect. `caller` is
    `user:<number>` or `service:<client id>`. The digest of the request is sealed with the answer; `request_digest` has
    that of rows of earlier versions."""

    __tablename__ = "idempotency_keys"
    __table_args__ = (Index("ix_idempotency_keys_created", "created"),)
    caller: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    request_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    status: Mapped[int]
    sealed_answer: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)


class BlockRow(Audited, Base):
    """An app (type 1, by name) or a user (type 2, by number) that the billing manager has blocked."""

    __tablename__ = "blocklist"
    __table_args__ = (UniqueConstraint("id", "type"), CheckConstraint("type IN (1, 2)", name="type"))
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    id: Mapped[str] = mapped_column(Text)
    type: Mapped[int]
    remark: Mapped[str] = mapped_column(Text)
