"""Tables of the names that an app answers to and of what secures them. Private keys and issuers are ciphertext."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ForeignKey, Index, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.apps import Audited
from controller.schema.base import Base
from controller.schema.ingress import app_key, numbered, owner_key
from shared.db import UtcDateTime, uuid7


class DomainRow(Audited, Base):
    """A host name of an app, unique over all apps; `sent` is how the user wrote it."""

    __tablename__ = "domains"
    __table_args__ = (
        UniqueConstraint("domain"),
        Index("ix_domains_app_uuid", "app_uuid"),
        Index("ix_domains_certificate_id", "certificate_id"),
    )
    id: Mapped[int] = numbered()
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    domain: Mapped[str] = mapped_column(Text)
    sent: Mapped[str] = mapped_column(Text)
    ptype: Mapped[str] = mapped_column(Text)
    certificate_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("certificates.id", ondelete="SET NULL"))


class CertificateRow(Audited, Base):
    """A user's own certificate, PEM; what it says of itself is kept beside it."""

    __tablename__ = "certificates"
    __table_args__ = (UniqueConstraint("app_uuid", "name"),)
    id: Mapped[int] = numbered()
    app_uuid: Mapped[UUID] = app_key()
    owner_id: Mapped[int] = owner_key()
    name: Mapped[str] = mapped_column(Text)
    certificate: Mapped[str] = mapped_column(Text)
    sealed_key: Mapped[str] = mapped_column(Text)
    common_name: Mapped[str | None] = mapped_column(Text)
    san: Mapped[list[Any]]
    fingerprint: Mapped[str] = mapped_column(Text)
    expires: Mapped[datetime] = mapped_column(UtcDateTime)
    starts: Mapped[datetime] = mapped_column(UtcDateTime)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)


class TlsRow(Audited, Base):
    """How an app does TLS. One row per app, made at the first change; `uuid` is new with each change."""

    __tablename__ = "tls"
    app_uuid: Mapped[UUID] = mapped_column(ForeignKey("apps.uuid", ondelete="CASCADE"), primary_key=True)
    uuid: Mapped[UUID] = mapped_column(default=uuid7)
    owner_id: Mapped[int] = owner_key()
    sealed_issuer: Mapped[str] = mapped_column(Text)
    https_enforced: Mapped[bool | None]
    certs_auto_enabled: Mapped[bool | None]
