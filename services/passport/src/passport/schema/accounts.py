"""People, their browser sessions, and the code that the first of them needs."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, SmallInteger, func, text
from sqlalchemy.orm import Mapped, mapped_column

from passport.schema.base import Base


class AccountRow(Base):
    """A person; without `password_hash` (Argon2id) nobody can log in with a password."""

    __tablename__ = "accounts"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str]
    email: Mapped[str]
    first_name: Mapped[str]
    last_name: Mapped[str]
    password_hash: Mapped[str | None]
    is_active: Mapped[bool]
    is_staff: Mapped[bool]
    is_superuser: Mapped[bool]
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]


Index("uq_accounts_username", func.lower(AccountRow.username), unique=True)
Index("uq_accounts_email", func.lower(AccountRow.email), unique=True, postgresql_where=text("email <> ''"))


class SessionRow(Base):
    """A browser that is signed in; `digest` is that of its cookie."""

    __tablename__ = "sessions"

    digest: Mapped[bytes] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(AccountRow.id, ondelete="CASCADE"), index=True)
    authenticated_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class BootstrapCodeRow(Base):
    """The one code with which the first account becomes an administrator; there is none once there are accounts."""

    __tablename__ = "bootstrap_code"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(SmallInteger, primary_key=True, autoincrement=False)
    digest: Mapped[bytes]
    created_at: Mapped[datetime]
