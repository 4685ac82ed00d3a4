"""The reconciler itself: what wakes it, what it survives, what it does with apps that go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import text

from controller.domain.errors import InvalidFieldsError
from controller.domain.spec import AppSpec, ProcessSpec
from controller.engine.memory import MemoryEngine
from controller.engine.port import EngineAwayError, NotSupportedError, StillThereError
from controller.services.apps import Apps
from controller.services.releases import Releases
from shared.clock import SystemClock
from shared.errors import UnavailableError
from shared.events import AppDeleted, ReleaseDeployed, ReleaseFailed
from shared.testing.clock import FakeClock
from shared.testing.wait import eventually
from support.controller_core import ANA, Core
from support.killing import kill_at

PIPELINE = {
    "pipeline": {
        "web.yaml": {"kind": "pipeline", "ptype": "web", "run": {"command": ["./migrate"]}, "deploy": {}},
    }
}


class BrokenEngine(MemoryEngine):
    """Raises what it is given, as long as it is given something."""

    error: Exception | None = None

    async def apply(self, spec: AppSpec) -> None:
        if self.error is not None:
            raise self.error
        await super().apply(spec)

    async def remove(self, app: str) -> None:
        if self.error is not None:
            raise self.error
        await super().remove(app)


@asynccontextmanager
async def at_work(core: Core) -> AsyncIterator[None]:
    """A reconciler runs for the block."""
    task = asyncio.create_task(core.reconciler().run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def state(core: Core, version: int) -> str:
    return (await core.release(version)).state


async def test_weakness_16_killed_at_any_point_a_rollout_still_ends_well_and_once(core: Core) -> None:
    number = 0
    reached = True
    while reached:
        number += 1
        name = f"kill-{number}"
        await core.app(name)
        await core.build(name, dryccfile=PIPELINE)
        reached = await kill_at(core.reconciler().reconcile(name), number)
        await core.reconcile(name)
        assert await core.running(name) == {"web": [2]}, number
        assert (await core.release(2, name)).state == "succeed", number
        jobs = [i for i in (await core.engine.observe(name)).instances if i.ptype == "run"]
        assert len(jobs) == 1, number
    ended = [event for event in await core.events("release.deployed") if isinstance(event, ReleaseDeployed)]
    assert sorted(event.app for event in ended) == sorted(f"kill-{n}" for n in range(1, number + 1))
    assert number > 30


async def test_weakness_26_killed_at_any_point_a_failing_rollout_still_rolls_back_once(core: Core) -> None:
    number = 0
    reached = True
    while reached:
        number += 1
        name = f"fail-{number}"
        await core.app(name)
        await core.build(name)
        await core.reconcile(name)
        core.engine.fail(name, "web")
        await core.build(name, sha="bad0000")
        reached = await kill_at(core.reconciler().reconcile(name), number)
        await core.reconcile(name)
        core.engine.heal(name, "web")
        await core.reconcile(name)
        assert await core.running(name) == {"web": [2]}, number
        assert (await core.release(3, name)).state == "crashed", number
    ended = [event for event in await core.events("release.failed") if isinstance(event, ReleaseFailed)]
    assert sorted(event.app for event in ended) == sorted(f"fail-{n}" for n in range(1, number + 1))
    assert {event.rolled_back_to for event in ended} == {2}


async def test_it_wakes_by_itself_for_rows_and_for_the_engine(core: Core) -> None:
    core = replace(core, clock=SystemClock())
    await core.app()
    async with at_work(core):
        await core.build()
        await eventually(lambda: _is(core, 2, "succeed"))
        core.engine.hold("shop", "web")
        await core.set(A="1")
        await eventually(lambda: core.engine.applies["shop"] > 1)
        core.engine.let_go("shop", "web")
        await eventually(lambda: _is(core, 3, "succeed"))
        core.engine.hold("shop", "web")
        await core.set(DRYCC_DEPLOY_TIMEOUT="1")
        await eventually(lambda: _is(core, 4, "crashed"))
        async with core.work() as uow:
            await Apps(uow).delete("shop", actor=ANA)
        await eventually(lambda: core.events("app.deleted"))
        assert core.engine.spec("shop") is None


async def test_a_start_applies_every_app_again(core: Core) -> None:
    core = replace(core, clock=SystemClock())
    for name in ("one", "two"):
        await core.app(name)
        await core.build(name)
        await core.reconcile(name)
    restarted = replace(core, engine=MemoryEngine(clock=core.clock))
    async with at_work(restarted):
        await eventually(lambda: restarted.engine.spec("one") is not None and restarted.engine.spec("two") is not None)


async def test_the_periodic_pass_heals_what_nobody_reported(core: Core, clock: FakeClock) -> None:
    await core.app()
    await core.build()
    async with at_work(core):
        await eventually(lambda: _is(core, 2, "succeed"))
        await core.engine.remove("shop")
        await eventually(lambda: core.engine.spec("shop") is not None or clock.sleepers == 1)
        clock.advance(timedelta(seconds=60))
        await eventually(lambda: core.engine.spec("shop") is not None)


async def test_weakness_35_two_at_once_do_everything_once(core: Core) -> None:
    core = replace(core, clock=SystemClock())
    names = [f"app-{number}" for number in range(6)]
    for name in names:
        await core.app(name)
    async with at_work(core), at_work(core):
        await asyncio.gather(*(core.build(name) for name in names))
        await eventually(lambda: _all_deployed(core, names))
    events = [event for event in await core.events("release.deployed") if isinstance(event, ReleaseDeployed)]
    assert sorted(event.app for event in events) == names


async def test_a_busy_engine_is_asked_again(core: Core, clock: FakeClock) -> None:
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    core.engine.error = UnavailableError("away")
    await core.app()
    await core.build()
    async with at_work(core):
        await eventually(lambda: clock.sleepers >= 2)
        core.engine.error = None
        # It looks when it starts and when it is woken: it may have been told no twice, and waits longer then.
        clock.advance(timedelta(seconds=5))
        await eventually(lambda: _is(core, 2, "succeed"))


async def test_an_engine_that_stays_away_is_a_failure_at_the_deadline(core: Core, clock: FakeClock) -> None:
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    core.engine.error = UnavailableError("the engine does not answer")
    await core.app()
    await core.build()
    with pytest.raises(UnavailableError):
        await core.reconcile()
    clock.advance(timedelta(seconds=121))
    with pytest.raises(UnavailableError):
        await core.reconcile()  # the failure is written; the next pass tells the engine, which is still away
    [event] = await core.events("release.failed")
    assert isinstance(event, ReleaseFailed)
    assert (event.code, event.message) == ("unavailable", "the engine does not answer")


async def test_what_the_engine_refuses_fails_at_once(core: Core, clock: FakeClock) -> None:
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    await core.app()
    await core.build()
    core.engine.error = NotSupportedError("no such thing here")
    with pytest.raises(NotSupportedError):
        await core.reconcile()
    assert (await core.release(2)).state == "crashed"
    [event] = await core.events("release.failed")
    assert isinstance(event, ReleaseFailed)
    assert event.code == "not-supported"


async def test_a_deleted_app_is_gone_at_once_and_its_name_free_when_all_is_removed(
    core: Core, clock: FakeClock
) -> None:
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    await core.app()
    await core.build()
    core.engine.hold("shop", "web")
    await core.reconcile()
    async with core.work() as uow:
        await Apps(uow).delete("shop", actor=ANA)
        assert await Apps(uow).find("shop") is None
    [failed] = await core.events("release.failed")
    assert isinstance(failed, ReleaseFailed)
    assert failed.code == "app-deleted"
    core.engine.error = StillThereError("a process of shop is still there")
    with pytest.raises(StillThereError):
        await core.reconcile()
    with pytest.raises(InvalidFieldsError, match=r"Application with this id already exists\."):
        await core.app()
    core.engine.error = None
    await core.reconcile()
    assert core.engine.spec("shop") is None
    assert await core.events("app.deleted") == [AppDeleted(app="shop", actor="ana")]
    await core.app()
    await core.build()
    await core.reconcile()
    assert (await core.release(2)).state in ("created", "succeed")


async def test_changes_at_once_queue_and_leave_no_gap(core: Core) -> None:
    await core.app()
    await core.build()
    await asyncio.gather(*(core.set(**{f"NAME_{number}": "x"}) for number in range(12)))
    async with core.work() as uow:
        page = await Releases(uow).list("shop", limit=100)
    assert sorted(release.version for release in page.items) == list(range(1, 15))
    await core.reconcile()
    spec = core.engine.spec("shop")
    assert spec is not None
    assert sum(name.startswith("NAME_") for name in _web(spec).env) == 12
    assert [event.version for event in await core.events("release.deployed")] == [14]  # type: ignore[attr-defined]


def _web(spec: AppSpec) -> ProcessSpec:
    web = spec.process("web")
    assert web is not None
    return web


async def _is(core: Core, version: int, wanted: str) -> bool:
    return await state(core, version) == wanted


async def _all_deployed(core: Core, names: list[str]) -> bool:
    return len(await core.events("release.deployed")) == len(names)


async def test_no_deadline_passes_while_the_engine_cannot_be_reached(core: Core, clock: FakeClock) -> None:
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    await core.app()
    await core.build()
    core.engine.error = EngineAwayError("the engine does not answer")
    for _ in range(4):
        clock.advance(timedelta(seconds=121))
        with pytest.raises(EngineAwayError):
            await core.reconcile()
    assert await core.events("release.failed") == []
    core.engine.error = None
    await core.reconcile()
    assert (await core.release(2)).state == "succeed"


async def test_an_engine_that_cannot_be_reached_is_not_waited_for_for_ever(core: Core, clock: FakeClock) -> None:
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    await core.app()
    await core.build()
    core.engine.error = EngineAwayError("the engine does not answer")
    clock.advance(timedelta(minutes=61))
    with pytest.raises(EngineAwayError):
        await core.reconcile()
    [event] = await core.events("release.failed")
    assert isinstance(event, ReleaseFailed)
    assert event.code == "engine-away"


async def test_a_rollout_that_can_be_seen_again_gets_its_time_anew(core: Core, clock: FakeClock) -> None:
    """The deadline passes between two looks, of which the first saw nothing."""
    core = replace(core, engine=BrokenEngine(clock=clock))
    assert isinstance(core.engine, BrokenEngine)
    await core.app()
    await core.build()
    core.engine.hold("shop", "web")
    worker = core.reconciler()
    await worker.reconcile("shop")
    core.engine.error = EngineAwayError("the engine does not answer")
    clock.advance(timedelta(seconds=115))
    with pytest.raises(EngineAwayError):
        await worker.reconcile("shop")
    core.engine.error = None
    clock.advance(timedelta(seconds=10))
    await worker.reconcile("shop")
    assert await core.events("release.failed") == []
    clock.advance(timedelta(seconds=115))
    await worker.reconcile("shop")
    assert await core.events("release.failed") == []
    clock.advance(timedelta(seconds=10))
    await worker.reconcile("shop")
    [event] = await core.events("release.failed")
    assert isinstance(event, ReleaseFailed)
    assert event.code == "deadline-exceeded"


async def test_a_deadline_that_passed_while_no_worker_was_there_counts_from_the_start_of_the_next(core: Core) -> None:
    """Nobody has told the engine anything meanwhile, nor looked whether it was done."""
    core = replace(core, clock=SystemClock())
    await core.app()
    core.engine.hold("shop", "web")
    await core.build()
    async with core.database.transaction() as session:
        await session.execute(text("UPDATE rollouts SET deadline_at = now() - interval '5 minutes'"))
    async with at_work(core):
        await eventually(lambda: core.engine.applies.get("shop"))
        core.engine.let_go("shop", "web")
        await eventually(lambda: _is(core, 2, "succeed"))
    assert await core.events("release.failed") == []
