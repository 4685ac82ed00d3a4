"""Rollouts from the release to the end, on real tables and the memory engine."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from controller.domain.rollouts import job_name
from controller.domain.spec import Failure
from controller.services.app_settings import AppSettingsService
from controller.services.processes import Processes
from controller.services.releases import Releases
from shared.errors import InvalidInputError
from shared.events import ReleaseCreated, ReleaseDeployed, ReleaseFailed, ReleaseProgress
from shared.testing.clock import FakeClock
from support.controller_core import ANA, Core

PIPELINE = {
    "pipeline": {
        "web.yaml": {
            "kind": "pipeline",
            "ptype": "web",
            "env": {"ROLE": "web"},
            "run": {"command": ["./migrate"], "args": ["--all"], "timeout": 600},
            "deploy": {"command": ["./web"]},
        },
        "worker.yaml": {
            "kind": "pipeline",
            "ptype": "worker",
            "run": {"command": ["./warm"]},
            "deploy": {"command": ["./worker"]},
        },
    }
}


async def settings(core: Core, **flags: bool) -> None:
    async with core.work() as uow:
        await AppSettingsService(uow).change("shop", flags, actor=ANA)


async def failures(core: Core) -> list[ReleaseFailed]:
    return [event for event in await core.events("release.failed") if isinstance(event, ReleaseFailed)]


async def deployed(core: Core) -> list[int]:
    return [event.version for event in await core.events("release.deployed") if isinstance(event, ReleaseDeployed)]


@pytest.fixture
async def shop(core: Core) -> Core:
    """The app shop with v2 running: one web, two workers."""
    await core.app()
    await core.build()
    await core.reconcile()
    await core.scale(worker=2)
    await core.reconcile()
    return core


async def test_a_build_is_rolled_out(core: Core) -> None:
    await core.app()
    release = await core.build()
    assert (release.version, release.summary) == (2, "ana deployed abcdef1")
    await core.reconcile()
    assert await core.running() == {"web": [2]}
    assert await core.structure() == {"web": 1, "worker": 0}
    done = await core.release(2)
    assert (done.state, done.failed, done.deployed_ptypes) == ("succeed", False, ("web", "worker"))
    assert {"state": "succeed", "action": "pipeline", "ptypes": ["web", "worker"]}.items() <= done.conditions[0].items()
    [event] = await core.events("release.deployed")
    assert isinstance(event, ReleaseDeployed)
    assert (event.url, event.ptypes, event.sha) == (
        "http://shop.apps.test:8080",
        ("web", "worker"),
        "abcdef1234567890",
    )
    assert event.build_id == release.build
    messages = [event.message for event in await core.events("release.progress") if isinstance(event, ReleaseProgress)]
    assert messages[:2] == [
        "rolling out web",
        "worker is at 0 processes; to start it: drycc pts scale worker=1 -a shop",
    ]


async def test_an_app_without_web_has_no_address(core: Core) -> None:
    await core.app()
    await core.build(procfile={"worker": "./worker"})
    await core.reconcile()
    [event] = await core.events("release.deployed")
    assert isinstance(event, ReleaseDeployed)
    assert event.url is None


async def test_a_config_change_moves_only_what_it_concerns(shop: Core) -> None:
    await shop.config(values=[{"name": "THREADS", "value": "4", "ptype": "worker"}])
    await shop.reconcile()
    assert await shop.running() == {"web": [2], "worker": [3, 3]}
    assert (await shop.release(3)).conditions[0]["ptypes"] == ["worker"]
    await shop.set(DEBUG="1")
    await shop.reconcile()
    assert await shop.running() == {"web": [4], "worker": [4, 4]}


async def test_a_change_that_concerns_nothing_that_runs_succeeds_at_once(shop: Core) -> None:
    await shop.config(limits={"run": "std1.large.c2m2"})
    await shop.reconcile()
    assert await shop.running() == {"web": [2], "worker": [2, 2]}
    assert (await shop.release(3)).state == "succeed"
    assert (await shop.release(3)).conditions[0]["ptypes"] == []


async def test_weakness_07_a_change_during_a_rollout_supersedes_it(shop: Core) -> None:
    shop.engine.hold("shop", "worker")
    await shop.set(A="1")
    await shop.reconcile()
    assert await shop.running() == {"web": [3], "worker": [2, 2]}
    await shop.config(values=[{"name": "B", "value": "2", "ptype": "web"}])
    await shop.reconcile()
    shop.engine.let_go("shop", "worker")
    await shop.reconcile()
    # The worker was on its way to v3 when v4 came: it goes to v4, and v4 is done only when it is there.
    assert await shop.running() == {"web": [4], "worker": [4, 4]}
    old = await shop.release(3)
    assert (old.state, old.failed, old.conditions[0]["state"]) == ("created", False, "superseded")
    assert await deployed(shop) == [2, 4]
    assert await failures(shop) == []
    messages = [event.message for event in await shop.events("release.progress") if isinstance(event, ReleaseProgress)]
    assert "v4 took the place of v3 before that was rolled out" in messages


async def test_a_build_that_another_build_overtakes_is_told(shop: Core) -> None:
    shop.engine.hold("shop", "web")
    first = await shop.build(sha="1111111")
    await shop.reconcile()
    await shop.build(sha="2222222")
    shop.engine.let_go("shop", "web")
    await shop.reconcile()
    [event] = await failures(shop)
    assert (event.version, event.code, event.build_id) == (3, "superseded", first.build)
    assert await shop.running() == {"web": [4], "worker": [4, 4]}


async def test_a_failure_explains_itself_and_rolls_back(shop: Core) -> None:
    before = {instance.name for instance in (await shop.engine.observe("shop")).instances}
    failure = Failure("wrong-port", "web", "web listens on 5000, expected 23456", ("serving on 5000",), "read $PORT")
    shop.engine.fail("shop", "web", failure)
    broken = await shop.build(sha="badbad1")
    await shop.reconcile()
    release = await shop.release(3)
    assert (release.state, release.failed) == ("crashed", True)
    assert release.exception == "wrong-port: web listens on 5000, expected 23456"
    assert release.failure == failure.as_json()
    condition = release.conditions[0]
    assert condition["failure"] == failure.as_json()
    assert condition["exception"] == (
        "web listens on 5000, expected 23456\n  serving on 5000\nHint: read $PORT\nRolled back to v2."
    )
    [event] = await failures(shop)
    assert (event.code, event.ptype, event.log, event.hint) == ("wrong-port", "web", ("serving on 5000",), "read $PORT")
    assert (event.rolled_back_to, event.build_id) == (2, broken.build)
    shop.engine.heal("shop", "web")
    await shop.reconcile()
    assert await shop.running() == {"web": [2], "worker": [2, 2]}
    assert {i.name for i in (await shop.engine.observe("shop")).instances if i.ptype == "web"} <= before
    # No release was made of the rollback, and the next change builds on the good one.
    await shop.set(A="1")
    assert (await shop.release(4)).build == (await shop.release(2)).build != broken.build
    await shop.reconcile()
    assert (await shop.release(4)).summary == "ana added values A"
    assert await shop.running() == {"web": [4], "worker": [4, 4]}


async def test_a_type_that_only_the_failed_release_has_goes_away(shop: Core) -> None:
    shop.engine.fail("shop", "web")
    await shop.build(sha="badbad1", procfile={"web": "./x", "worker": "./y", "clock": "./z"})
    await shop.reconcile()
    shop.engine.heal("shop", "web")
    await shop.reconcile()
    assert await shop.structure() == {"web": 1, "worker": 2}
    assert await shop.running() == {"web": [2], "worker": [2, 2]}


async def test_weakness_36_a_type_goes_back_to_what_it_ran_however_long_ago_that_came(shop: Core) -> None:
    for number in range(21):
        await shop.config(values=[{"name": "A", "value": str(number), "ptype": "web"}])
        await shop.reconcile()
    assert await shop.running() == {"web": [23], "worker": [2, 2]}
    shop.engine.fail("shop", "web")
    await shop.build(sha="badbad1")
    await shop.reconcile()
    shop.engine.heal("shop", "web")
    await shop.reconcile()
    assert await shop.running() == {"web": [23], "worker": [2, 2]}


async def test_without_autorollback_a_failed_release_stays(shop: Core) -> None:
    await settings(shop, autorollback=False)
    shop.engine.fail("shop", "web")
    await shop.build(sha="badbad1")
    await shop.reconcile()
    [event] = await failures(shop)
    assert event.rolled_back_to is None
    spec = shop.engine.spec("shop")
    assert spec is not None
    assert [process.release for process in spec.processes] == [3, 3]
    await shop.set(A="1")
    assert (await shop.release(4)).build == (await shop.release(3)).build


async def test_a_failed_first_build_stays_and_a_deploy_of_it_tries_again(core: Core) -> None:
    await core.app()
    core.engine.fail("shop", "web")
    await core.build()
    await core.reconcile()
    [event] = await failures(core)
    assert event.rolled_back_to is None
    core.engine.heal("shop", "web")
    async with core.work() as uow:
        await Releases(uow).deploy("shop", actor=ANA)
    await core.reconcile()
    release = await core.release(2)
    assert (release.state, release.failed) == ("succeed", False)
    assert [condition["state"] for condition in release.conditions] == ["succeed", "crashed"]


async def test_a_passed_deadline_is_a_failure(shop: Core, clock: FakeClock) -> None:
    shop.engine.hold("shop", "web")
    await shop.build(sha="slow000")
    await shop.reconcile()
    clock.advance(timedelta(seconds=119))
    await shop.reconcile()
    assert await failures(shop) == []
    clock.advance(timedelta(seconds=1))
    await shop.reconcile()
    [event] = await failures(shop)
    assert (event.code, event.ptype) == ("deadline-exceeded", "web")
    assert event.message == "not ready in time: web has 0 of 1 new processes ready"
    assert await shop.running() == {"web": [2], "worker": [2, 2]}


async def test_progress_moves_the_deadline_and_the_apps_own_timeout_counts(shop: Core, clock: FakeClock) -> None:
    await shop.set(DRYCC_DEPLOY_TIMEOUT="300")
    await shop.reconcile()
    shop.engine.hold("shop", "web")
    shop.engine.hold("shop", "worker")
    await shop.build(sha="slow000")
    await shop.reconcile()
    clock.advance(timedelta(seconds=299))
    shop.engine.let_go("shop", "worker")
    await shop.reconcile()
    clock.advance(timedelta(seconds=299))
    await shop.reconcile()
    assert await failures(shop) == []
    clock.advance(timedelta(seconds=1))
    await shop.reconcile()
    assert [event.version for event in await failures(shop)] == [4]


async def test_a_rollout_goes_on_after_a_restart_of_the_platform(shop: Core) -> None:
    shop.engine.hold("shop", "web")
    await shop.build(sha="abc1234")
    await shop.reconcile()
    restarted = replace(shop, engine=type(shop.engine)(clock=shop.clock))
    await restarted.reconcile()
    assert await restarted.running() == {"web": [3], "worker": [3, 3]}
    assert (await restarted.release(3)).state == "succeed"
    assert await deployed(shop) == [2, 3]


async def test_scaling_touches_neither_releases_nor_other_types(shop: Core) -> None:
    await shop.scale(web=3, worker=0)
    await shop.reconcile()
    assert await shop.running() == {"web": [2, 2, 2]}
    assert await shop.structure() == {"web": 3, "worker": 0}
    await shop.build(sha="abc1234")
    await shop.reconcile()
    assert await shop.running() == {"web": [3, 3, 3]}


async def test_a_restart_replaces_every_instance(shop: Core) -> None:
    before = {instance.name for instance in (await shop.engine.observe("shop")).instances}
    async with shop.work() as uow:
        await Processes(uow).restart("shop", ["worker"], actor=ANA)
    await shop.reconcile()
    after = {instance.name for instance in (await shop.engine.observe("shop")).instances}
    assert len(before & after) == 1
    assert await shop.running() == {"web": [2], "worker": [2, 2]}


async def test_rollback_of_one_process_type(shop: Core) -> None:
    await shop.set(A="1")
    await shop.reconcile()
    async with shop.work() as uow:
        release = await Releases(uow).roll_back("shop", version=2, ptypes=["web"], actor=ANA)
    await shop.reconcile()
    assert (release.version, release.summary) == (4, "ana rolled back to v2")
    assert await shop.running() == {"web": [4], "worker": [3, 3]}
    spec = shop.engine.spec("shop")
    assert spec is not None
    assert "A" not in spec.processes[0].env
    assert spec.processes[1].env["A"] == "1"


async def test_types_that_left_the_build_go_after_the_rollout(shop: Core) -> None:
    shop.engine.hold("shop", "web")
    await shop.build(sha="abc1234", procfile={"web": "./web"})
    await shop.reconcile()
    assert await shop.running() == {"web": [2], "worker": [2, 2]}
    shop.engine.let_go("shop", "web")
    await shop.reconcile()
    assert await shop.running() == {"web": [3]}
    assert await shop.structure() == {"web": 1}


async def test_without_autodeploy_a_build_waits(shop: Core) -> None:
    await settings(shop, autodeploy=False)
    await shop.build(sha="abc1234", procfile={"web": "./web"})
    await shop.reconcile()
    assert await shop.running() == {"web": [2], "worker": [2, 2]}
    created = [event for event in await shop.events("release.created") if isinstance(event, ReleaseCreated)]
    assert [event.deploys for event in created] == [False, True, False]
    async with shop.work() as uow:
        await Releases(uow).deploy("shop", actor=ANA)
    await shop.reconcile()
    # The old worker stays until it is scaled to 0 and cleaned away.
    assert await shop.running() == {"web": [3], "worker": [2, 2]}
    async with shop.work() as uow:
        with pytest.raises(InvalidInputError, match=r"ptype worker should not garbage\."):
            await Processes(uow).clean("shop", ["worker"], actor=ANA)
    await shop.scale(worker=0)
    async with shop.work() as uow:
        await Processes(uow).clean("shop", ["worker", "nope"], actor=ANA)
    assert await shop.structure() == {"web": 1}


async def test_the_first_build_deploys_everything_without_autorollback(core: Core) -> None:
    await core.app()
    await settings(core, autorollback=False)
    await core.build()
    await core.reconcile()
    assert await core.running() == {"web": [2]}


async def test_a_forced_deploy_replaces_what_has_not_changed(shop: Core) -> None:
    before = {instance.name for instance in (await shop.engine.observe("shop")).instances}
    async with shop.work() as uow:
        await Releases(uow).deploy("shop", actor=ANA)
    await shop.reconcile()
    assert {instance.name for instance in (await shop.engine.observe("shop")).instances} == before
    async with shop.work() as uow:
        await Releases(uow).deploy("shop", ptypes=["web"], force=True, actor=ANA)
    await shop.reconcile()
    assert len({instance.name for instance in (await shop.engine.observe("shop")).instances} & before) == 2


async def test_the_release_phase_runs_in_order_before_anything_moves(core: Core) -> None:
    await core.app()
    core.engine.script_jobs(None, "migrated")
    await core.build(dryccfile=PIPELINE, dockerfile="FROM x", image="registry.test/shop:2")
    await core.reconcile()
    assert await core.running() == {}
    jobs = [i.name for i in (await core.engine.observe("shop")).instances]
    job = core.engine.job_spec("shop", jobs[0])
    assert len(jobs) == 1
    assert job is not None
    assert (job.process.command, job.process.args) == (("./migrate",), ("--all",))
    assert (job.process.env["ROLE"], job.timeout) == ("web", timedelta(minutes=10))
    core.engine.finish_job("shop", jobs[0], 0)
    await core.reconcile()
    jobs = [i.name for i in (await core.engine.observe("shop")).instances if i.state == "up"]
    core.engine.finish_job("shop", jobs[0], 0)
    await core.reconcile()
    assert await core.running() == {"web": [2]}
    assert (await core.release(2)).state == "succeed"


async def test_a_failed_release_phase_moves_nothing(shop: Core) -> None:
    shop.engine.script_jobs(3, "no such table")
    await shop.build(sha="abc1234", dryccfile=PIPELINE)
    await shop.reconcile()
    [event] = await failures(shop)
    assert (event.code, event.ptype, event.log) == ("release-phase-failed", "web", ("no such table",))
    assert event.message == "the release phase of web failed: `./migrate --all`: exit code 3"
    assert event.rolled_back_to is None
    assert await shop.running() == {"web": [2], "worker": [2, 2]}
    assert (await shop.release(3)).state == "crashed"


async def test_a_release_phase_that_never_ends_fails_at_its_deadline(shop: Core, clock: FakeClock) -> None:
    shop.engine.script_jobs(None)
    await shop.build(sha="abc1234", dryccfile=PIPELINE)
    await shop.reconcile()
    clock.advance(timedelta(seconds=661))
    await shop.reconcile()
    [event] = await failures(shop)
    assert event.code == "release-phase-failed"
    assert event.message.endswith("it did not end in time")


async def test_the_name_of_a_job_is_that_of_its_step(core: Core) -> None:
    app = await core.app()
    assert job_name("shop", app.uuid, 0) == job_name("shop", app.uuid, 0)
    assert job_name("shop", app.uuid, 0) != job_name("shop", app.uuid, 1)
