"""Signing keys, and the counters of failed logins."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.orm import Mapped, mapped_column

from passport.schema.base import Base


class SigningKeyRow(Base):
    """A signing key: a private JWK, encrypted."""

    __tablename__ = "signing_keys"

    kid: Mapped[str] = mapped_column(primary_key=True)
    algorithm: Mapped[str]
    encrypted_key: Mapped[bytes]
    created_at: Mapped[datetime]
    active_from: Mapped[datetime]


class AttemptRow(Base):
    """Attempts left of an account or an address, named by a keyed digest: what is typed may be a password."""

    __tablename__ = "login_attempts"

    key: Mapped[bytes] = mapped_column(primary_key=True)
    level: Mapped[float]
    measured_at: Mapped[datetime] = mapped_column(index=True)
