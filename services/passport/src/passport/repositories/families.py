"""Token families of an account, for what happens outside the protocol."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, update
from sqlalchemy.ext.asyncio import AsyncSession

from passport.schema import CodeRow, FamilyRow


async def revoke_families_of(session: AsyncSession, account_id: int, *, because: str, now: datetime) -> None:
    """Make all tokens of the account invalid, and its codes that were not used yet."""
    unused = delete(CodeRow).where(CodeRow.account_id == account_id, CodeRow.used_at.is_(None))
    await session.execute(unused)
    statement = update(FamilyRow).where(FamilyRow.account_id == account_id, FamilyRow.revoked_at.is_(None))
    await session.execute(statement.values(revoked_at=now, revoked_because=because))
