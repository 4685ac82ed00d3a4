"""What has been kept long enough is forgotten, by one process at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from controller.background import pruning
from controller.background.pruning import FIRST, Pruner
from controller.schema.audit import AuditRow
from shared.testing.clock import FakeClock
from support import eventually
from support.controller_api import Api


def pruner_of(api: Api, clock: FakeClock) -> Pruner:
    """A pruner on this controller's tables."""
    return Pruner(
        database=api.context.database,
        clock=clock,
        audit_retention=api.settings.audit_retention,
        idempotency_retention=api.settings.idempotency_retention,
    )


async def kept(api: Api) -> int:
    """How many entries the audit trail has."""
    async with api.context.database.session() as session:
        return await session.scalar(select(func.count()).select_from(AuditRow)) or 0


async def test_entries_are_kept_for_a_year(api: Api, clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "BATCH", 2)
    for number in range(5):
        await api.create(f"old-{number}")
    old = await kept(api)
    clock.advance(timedelta(days=364))
    await pruner_of(api, clock).prune()
    assert await kept(api) == old > 4
    await api.create("young")
    clock.advance(timedelta(days=2))
    await pruner_of(api, clock).prune()
    assert await kept(api) == 1


async def test_one_process_at_a_time(api: Api, clock: FakeClock) -> None:
    await api.create("old")
    clock.advance(timedelta(days=400))
    async with api.context.database.try_lock("prune"):
        await pruner_of(api, clock).prune()
        assert await kept(api) > 0
    await pruner_of(api, clock).prune()
    assert await kept(api) == 0


async def test_it_works_by_itself(api: Api, clock: FakeClock) -> None:
    await api.create("old")
    running = asyncio.create_task(pruner_of(api, clock).run())
    await eventually(lambda: clock.sleepers > 0)
    clock.advance(FIRST)
    await eventually(lambda: clock.sleepers > 0)
    assert await kept(api) > 0
    clock.advance(timedelta(days=400))

    async def is_gone() -> bool:
        return await kept(api) == 0

    await eventually(is_gone)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
