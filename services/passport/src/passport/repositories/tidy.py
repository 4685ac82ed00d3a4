"""Deletes what has expired and can have no effect any more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncSession

from passport.schema import AccessTokenRow, AttemptRow, CodeRow, FamilyRow, SessionRow

# Used codes stay for a day: whoever replays one then still loses the tokens that it gave.
KEEP_EXPIRED: Final = timedelta(days=1)


async def delete_expired(session: AsyncSession, now: datetime) -> int:
    """Delete sessions, codes, tokens, families and full buckets that ended a day ago; returns how many rows."""
    before = now - KEEP_EXPIRED
    deleted = 0
    for statement in (
        delete(SessionRow).where(SessionRow.expires_at < now),
        delete(CodeRow).where(CodeRow.expires_at < before),
        delete(AccessTokenRow).where(AccessTokenRow.expires_at < before),
        delete(FamilyRow).where(FamilyRow.expires_at < before),  # takes its tokens along
        delete(AttemptRow).where(AttemptRow.measured_at < before),
    ):
        result = await session.execute(statement)
        deleted += getattr(result, "rowcount", 0)
    return deleted
