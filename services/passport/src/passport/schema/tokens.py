"""Clients, and what they were issued. Codes and refresh tokens are stored as digests, access tokens by their id."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from passport.schema.accounts import AccountRow
from passport.schema.base import Base


class ClientRow(Base):
    """An OAuth client; public when it has no secret."""

    __tablename__ = "clients"

    client_id: Mapped[str] = mapped_column(primary_key=True)
    secret_digest: Mapped[bytes | None]
    name: Mapped[str]
    redirect_uris: Mapped[list[str]]
    grants: Mapped[list[str]]
    scopes: Mapped[list[str]]
    audiences: Mapped[list[str]]
    skip_consent: Mapped[bool]
    legacy_claims: Mapped[bool]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]


class FamilyRow(Base):
    """The tokens of one authorization, revoked together."""

    __tablename__ = "token_families"

    id: Mapped[UUID] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey(ClientRow.client_id, ondelete="CASCADE"), index=True)
    account_id: Mapped[int | None] = mapped_column(ForeignKey(AccountRow.id, ondelete="CASCADE"), index=True)
    scope: Mapped[str]
    audiences: Mapped[list[str]]
    authenticated_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    revoked_at: Mapped[datetime | None]
    revoked_because: Mapped[str | None]


class CodeRow(Base):
    """An authorization code. A used one is kept for a while: its replay must revoke what it gave."""

    __tablename__ = "authorization_codes"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    client_id: Mapped[str] = mapped_column(ForeignKey(ClientRow.client_id, ondelete="CASCADE"), index=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(AccountRow.id, ondelete="CASCADE"), index=True)
    redirect_uri: Mapped[str | None]
    scope: Mapped[str]
    nonce: Mapped[str | None]
    code_challenge: Mapped[str]
    authenticated_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
    used_at: Mapped[datetime | None]
    family_id: Mapped[UUID | None] = mapped_column(ForeignKey(FamilyRow.id, ondelete="SET NULL"), index=True)


class RefreshTokenRow(Base):
    """A refresh token. Used ones are kept as long as the family: presenting one again is theft."""

    __tablename__ = "refresh_tokens"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    family_id: Mapped[UUID] = mapped_column(ForeignKey(FamilyRow.id, ondelete="CASCADE"), index=True)
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]


class AccessTokenRow(Base):
    """An access token that was issued; the token itself is a JWT and not stored."""

    __tablename__ = "access_tokens"

    jti: Mapped[str] = mapped_column(primary_key=True)
    family_id: Mapped[UUID] = mapped_column(ForeignKey(FamilyRow.id, ondelete="CASCADE"), index=True)
    scope: Mapped[str]
    issued_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)
