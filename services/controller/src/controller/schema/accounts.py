"""Tables of people: users (a copy of what passport says), their access tokens and SSH keys, logins under way."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, LargeBinary, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from controller.schema.base import Base
from shared.db import UtcDateTime, uuid7


class UserRow(Base):
    """A person, under passport's number for them. `confirmed_at`: when passport last spoke of them. `disabled_at`: a
    superuser shut them out here, until they log in anew."""

    __tablename__ = "users"
    __table_args__ = (UniqueConstraint("username"),)
    id: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    username: Mapped[str] = mapped_column(Text)
    email: Mapped[str] = mapped_column(Text)
    first_name: Mapped[str] = mapped_column(Text)
    last_name: Mapped[str] = mapped_column(Text)
    is_active: Mapped[bool]
    is_staff: Mapped[bool]
    is_superuser: Mapped[bool]
    last_login: Mapped[datetime | None] = mapped_column(UtcDateTime)
    date_joined: Mapped[datetime] = mapped_column(UtcDateTime)
    confirmed_at: Mapped[datetime] = mapped_column(UtcDateTime)
    disabled_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class TokenRow(Base):
    """A token that a client keeps: only its SHA-256 digest, and of passport's refresh token only the ciphertext."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("digest"), Index("ix_tokens_owner_id_created", "owner_id", "created"))
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id"))
    alias: Mapped[str] = mapped_column(Text)
    digest: Mapped[bytes] = mapped_column(LargeBinary)
    fuzzy_key: Mapped[str] = mapped_column(Text)
    sealed_refresh_token: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    updated: Mapped[datetime] = mapped_column(UtcDateTime)
    last_used_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class KeyRow(Base):
    """A public SSH key. One key belongs to one person, whatever its comment: both fingerprints are unique."""

    __tablename__ = "keys"
    __table_args__ = (
        UniqueConstraint("owner_id", "name"),
        UniqueConstraint("fingerprint"),
        UniqueConstraint("sha256"),
    )
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    owner_id: Mapped[int] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(Text)
    public: Mapped[str] = mapped_column(Text)
    fingerprint: Mapped[str] = mapped_column(Text)
    sha256: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    updated: Mapped[datetime] = mapped_column(UtcDateTime)


class LoginAttemptRow(Base):
    """A login under way. The key that the client polls with and the OAuth state are kept as digests only."""

    __tablename__ = "login_attempts"
    __table_args__ = (
        UniqueConstraint("key_digest"),
        UniqueConstraint("state_digest"),
        CheckConstraint("mode IN ('browser', 'password')", name="mode"),
        CheckConstraint("status IN ('pending', 'approved', 'denied')", name="status"),
        Index("ix_login_attempts_expires_at", "expires_at"),
    )
    uuid: Mapped[UUID] = mapped_column(primary_key=True, default=uuid7)
    key_digest: Mapped[bytes] = mapped_column(LargeBinary)
    state_digest: Mapped[bytes | None] = mapped_column(LargeBinary)
    mode: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(Text)
    hint: Mapped[str] = mapped_column(Text)
    address: Mapped[str] = mapped_column(Text)
    client: Mapped[str] = mapped_column(Text)
    sealed_exchange: Mapped[str | None] = mapped_column(Text)
    user_id: Mapped[int | None] = mapped_column(BigInteger, ForeignKey("users.id", ondelete="CASCADE"))
    sealed_refresh_token: Mapped[str | None] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
