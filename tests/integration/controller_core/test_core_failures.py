"""Every deploy that fails says why: in the release, in its condition, in the event, in the same words."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from controller.domain.spec import AppObservation, AppSpec, Failure, ProcessSpec
from controller.engine.memory import MemoryEngine
from controller.engine.port import NotSupportedError
from controller.services.app_settings import AppSettingsService
from controller.services.releases import Releases
from shared.errors import SuiteError, UnavailableError
from shared.events import ReleaseFailed
from shared.testing.clock import FakeClock
from support.controller_core import ANA, Core

WRONG_PORT = Failure("wrong-port", "web", "web listens on 5000, expected 23456", ("serving on 5000",), "read $PORT")
PIPELINE = {
    "pipeline": {
        "web.yaml": {"kind": "pipeline", "ptype": "web", "run": {"command": ["./migrate"]}, "deploy": {}},
    }
}


class Stubborn(MemoryEngine):
    """Refuses, is away, or has instances that never become ready, as it is told."""

    refuses: str | None = None
    broken: SuiteError | None = None
    is_slow = False

    def check(self, process: ProcessSpec) -> None:
        if process.ptype == self.refuses:
            raise NotSupportedError(f"{process.ptype} needs what is not here")

    async def apply(self, spec: AppSpec) -> None:
        if self.broken is not None:
            raise self.broken
        for process in spec.processes:
            self.check(process)
        await super().apply(spec)

    async def observe(self, app: str) -> AppObservation:
        seen = await super().observe(app)
        if not self.is_slow:
            return seen
        states = tuple(replace(state, settled=False, ready=0) for state in seen.ptypes)
        return AppObservation(app, states, tuple(replace(each, ready=False) for each in seen.instances))


@pytest.fixture
async def shop(core: Core) -> Core:
    """The app shop with v2 running."""
    made = replace(core, engine=Stubborn(clock=core.clock))
    await made.app()
    await made.build()
    await made.reconcile()
    return made


def engine_of(core: Core) -> Stubborn:
    assert isinstance(core.engine, Stubborn)
    return core.engine


async def crash(core: Core, clock: FakeClock) -> None:
    core.engine.fail("shop", "web", WRONG_PORT)
    await core.build(sha="bbb")
    await core.reconcile()


async def crash_of_a_config(core: Core, clock: FakeClock) -> None:
    core.engine.fail("shop", "web", WRONG_PORT)
    await core.set(A="1")
    await core.reconcile()


async def crash_that_stays(core: Core, clock: FakeClock) -> None:
    async with core.work() as uow:
        await AppSettingsService(uow).change("shop", {"autorollback": False}, actor=ANA)
    await crash(core, clock)


async def explained_deadline(core: Core, clock: FakeClock) -> None:
    core.engine.hold("shop", "web", reason=WRONG_PORT)
    await core.build(sha="bbb")
    await core.reconcile()
    clock.advance(timedelta(seconds=120))
    await core.reconcile()


async def unexplained_deadline(core: Core, clock: FakeClock) -> None:
    engine_of(core).is_slow = True
    await core.build(sha="bbb")
    await core.reconcile()
    newest = (await core.engine.observe("shop")).instances[-1].name
    for number in range(25):
        core.engine.write_log("shop", f"line {number}", instance=newest)
    clock.advance(timedelta(seconds=120))
    await core.reconcile()


async def release_phase(core: Core, clock: FakeClock) -> None:
    core.engine.script_jobs(3, "no such table")
    await core.build(sha="bbb", dryccfile=PIPELINE)
    await core.reconcile()


async def release_phase_refused(core: Core, clock: FakeClock) -> None:
    core.engine.refuse_jobs(NotSupportedError("too many processes"))
    await core.build(sha="bbb", dryccfile=PIPELINE)
    await core.reconcile()


async def release_phase_too_slow(core: Core, clock: FakeClock) -> None:
    core.engine.script_jobs(None)
    await core.build(sha="bbb", dryccfile=PIPELINE)
    await core.reconcile()
    clock.advance(timedelta(seconds=3661))
    await core.reconcile()


async def release_phase_stopped(core: Core, clock: FakeClock) -> None:
    core.engine.script_jobs(None)
    await core.build(sha="bbb", dryccfile=PIPELINE)
    await core.reconcile()
    [job] = [each.name for each in (await core.engine.observe("shop")).instances if each.ptype == "run"]
    await core.engine.stop_instance("shop", job)
    await core.reconcile()


async def refusal(core: Core, clock: FakeClock) -> None:
    await core.build(sha="bbb")
    engine_of(core).refuses = "worker"
    with pytest.raises(NotSupportedError):
        # The release that it goes back to has a worker as well.
        await core.reconcile()


async def engine_away(core: Core, clock: FakeClock) -> None:
    await core.build(sha="bbb", procfile={"web": "x"})
    engine_of(core).broken = UnavailableError("the cluster does not answer")
    with pytest.raises(UnavailableError):
        await core.reconcile()
    clock.advance(timedelta(seconds=120))
    with pytest.raises(UnavailableError):
        await core.reconcile()


CASES: list[tuple[Callable[[Core, FakeClock], Awaitable[None]], Failure]] = [
    (crash, WRONG_PORT),
    (crash_of_a_config, WRONG_PORT),
    (crash_that_stays, WRONG_PORT),
    (explained_deadline, WRONG_PORT),
    (
        unexplained_deadline,
        Failure(
            "deadline-exceeded",
            "web",
            "not ready in time: web has 0 of 1 new processes ready; worker has 0 of 0 new processes ready",
            tuple(f"line {number}" for number in range(5, 25)),
        ),
    ),
    (
        release_phase,
        Failure(
            "release-phase-failed",
            "web",
            "the release phase of web failed: `./migrate`: exit code 3",
            ("no such table",),
        ),
    ),
    (release_phase_refused, Failure("not-supported", "web", "too many processes")),
    (
        release_phase_too_slow,
        Failure("release-phase-failed", "web", "the release phase of web failed: `./migrate`: it did not end in time"),
    ),
    (
        release_phase_stopped,
        Failure("release-phase-failed", "web", "the release phase of web failed: `./migrate`: somebody stopped it"),
    ),
    (refusal, Failure("not-supported", "worker", "worker needs what is not here")),
    (engine_away, Failure("unavailable", "web", "the cluster does not answer")),
]


@pytest.mark.parametrize(("fail", "expected"), CASES, ids=[fail.__name__ for fail, _ in CASES])
async def test_every_failure_explains_itself(shop: Core, clock: FakeClock, fail: Any, expected: Failure) -> None:
    await fail(shop, clock)
    release = await shop.release(3)
    assert (release.state, release.failed) == ("crashed", True)
    assert release.failure is not None
    hint = str(release.failure["hint"])
    assert hint
    assert release.failure == replace(expected, hint=hint).as_json()
    assert release.exception == f"{expected.code}: {expected.message}"
    assert release.conditions[0]["failure"] == release.failure
    assert expected.message in str(release.conditions[0]["exception"])
    [event] = [event for event in await shop.events("release.failed") if isinstance(event, ReleaseFailed)]
    assert event.version == 3
    told = Failure(event.code, event.ptype, event.message, tuple(event.log), event.hint)
    assert told == replace(expected, hint=hint)


async def test_a_release_that_succeeds_after_all_has_no_failure(shop: Core, clock: FakeClock) -> None:
    await crash_that_stays(shop, clock)
    shop.engine.heal("shop", "web")
    async with shop.work() as uow:
        await Releases(uow).deploy("shop", actor=ANA)
    await shop.reconcile()
    release = await shop.release(3)
    assert (release.state, release.failed, release.exception, release.failure) == ("succeed", False, None, None)


async def test_an_engine_that_cannot_explain_does_not_keep_a_deadline_from_passing(
    shop: Core, clock: FakeClock
) -> None:
    class Mute(Stubborn):
        async def explain(self, app: str, ptype: str) -> Failure | None:
            raise UnavailableError("not now")

        def logs(self, app: str, *, instance: str | None, lines: int, follow: bool) -> AsyncIterator[bytes]:
            raise UnavailableError("not now")

    made = replace(shop, engine=Mute(clock=clock))
    engine_of(made).is_slow = True
    await made.build(sha="bbb")
    await made.reconcile()
    clock.advance(timedelta(seconds=120))
    await made.reconcile()
    failure = (await made.release(3)).failure
    assert failure is not None
    assert (failure["code"], failure["log"]) == ("deadline-exceeded", [])
