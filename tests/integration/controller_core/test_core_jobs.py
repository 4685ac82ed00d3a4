"""One-off commands: asked for, started, followed to their end, stopped, forgotten; and no crash loses one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select, text

from controller.background.jobs import JobKeeper
from controller.domain.audit import AuditFilter
from controller.domain.errors import InvalidValueError, ObjectNotFoundError
from controller.domain.jobs import Job
from controller.domain.spec import JobSpec
from controller.domain.spec_storage import Mount
from controller.engine.memory import MemoryEngine
from controller.engine.port import NotSupportedError
from controller.schema.jobs import JobRow
from controller.services.apps import Apps
from controller.services.audit import AuditTrail
from controller.services.configs import Configs
from controller.services.jobs import Jobs
from controller.services.volumes import Volumes
from shared.clock import SystemClock
from shared.errors import InvalidInputError, SuiteError, UnavailableError
from shared.testing.clock import FakeClock
from shared.testing.wait import eventually
from support.controller_core import ANA, BO, Core
from support.killing import kill_at


class Counting(MemoryEngine):
    """Counts the one-offs that it has started."""

    def __init__(self, **facts: Any) -> None:
        super().__init__(**facts)
        self.begun: list[str] = []

    async def run(self, job: JobSpec) -> None:
        # Awaits, so that a test can kill the caller here as everywhere.
        await asyncio.sleep(0)
        is_new = await self.job(job.app, job.name) is None
        await super().run(job)
        if is_new:
            self.begun.append(job.name)
        await asyncio.sleep(0)


@pytest.fixture
async def shop(core: Core) -> Core:
    """The app shop with v2 running, on an engine that counts."""
    counted = replace(core, engine=Counting(clock=core.clock))
    await counted.app()
    await counted.build()
    await counted.reconcile()
    return counted


def keeper(core: Core) -> JobKeeper:
    return JobKeeper(database=core.database, engine=core.engine, clock=core.clock, make_uow=core.around)


async def start(core: Core, **body: Any) -> Job:
    async with core.work() as uow:
        return await Jobs(uow).start("shop", {"command": "true", **body}, actor=ANA)


async def stop(core: Core, job: Job) -> None:
    async with core.work() as uow:
        await Jobs(uow).stop("shop", job.name, actor=BO)


async def get(core: Core, job: Job) -> Job:
    async with core.work() as uow:
        return await Jobs(uow).get("shop", job.name)


async def spec_of(core: Core, job: Job) -> JobSpec:
    async with core.work() as uow:
        found = await Jobs(uow).unfinished("shop")
    return next(spec for known, spec in found if known.name == job.name)


class TestAsking:
    async def test_it_runs_in_the_latest_release_with_what_run_has(self, shop: Core) -> None:
        await shop.config(values=[{"name": "A", "value": "1", "ptype": "run"}])
        job = await start(shop, command="echo 'a b' $A", timeout="60")
        spec = await spec_of(shop, job)
        assert job.name.startswith("shop-run-")
        assert (spec.process.shell, spec.process.args) == ("echo 'a b' $A", ())
        assert (spec.process.env["A"], spec.process.env["WORKFLOW_RELEASE"]) == ("1", "v3")
        assert (spec.timeout, spec.ttl) == (timedelta(seconds=60), timedelta(seconds=3600))
        assert (job.release, job.state, job.owner) == (3, "starting", "ana")

    async def test_an_image_gets_a_line_as_words(self, core: Core) -> None:
        await core.app()
        await core.build(image="nginx", sha="", procfile={})
        plain, odd = await start(core, command="echo 'a b' c", expires=0), await start(core, command="echo don't")
        assert (await spec_of(core, plain)).process.args == ("echo", "a b", "c")
        assert (await spec_of(core, odd)).process.args == ("echo", "don't")
        assert plain.ttl == timedelta(seconds=7200)

    async def test_a_list_is_passed_as_it_is(self, shop: Core) -> None:
        words = ["sh", "-c", "echo  $A", ""]
        spec = await spec_of(shop, await start(shop, command=words))
        assert (spec.process.args, spec.process.shell) == (tuple(words), None)

    async def test_the_image_and_command_of_another_type(self, core: Core) -> None:
        deploy = {"image": "jobs:2", "command": ["/launch"], "args": ["serve"]}
        pipeline = {"kind": "pipeline", "ptype": "jobs", "deploy": deploy}
        await core.app()
        await core.build(image="web:1", sha="", procfile={}, dryccfile={"pipeline": {"jobs.yaml": pipeline}})
        spec = await spec_of(core, await start(core, ptype="jobs", command="clean --all"))
        assert (spec.process.image, spec.process.command, spec.process.args) == (
            "jobs:2",
            ("/launch",),
            ("clean", "--all"),
        )
        with pytest.raises(InvalidInputError, match="process type web is not included in procfile, which has: jobs"):
            await start(core, ptype="web")

    @pytest.mark.parametrize(
        ("body", "error", "detail"),
        [
            ({"command": ""}, InvalidInputError, "command is a required field, or it can be defined in Procfile"),
            ({"command": []}, InvalidInputError, "command is a required field, or it can be defined in Procfile"),
            (
                {"command": ["", "a"]},
                InvalidInputError,
                "command is a required field, or it can be defined in Procfile",
            ),
            ({"command": ["a", 1]}, InvalidInputError, "command must be a text, or a list of texts"),
            ({"command": {"a": 1}}, InvalidInputError, "command must be a text, or a list of texts"),
            ({"ptype": 5}, InvalidInputError, "ptype must be the name of a process type"),
            ({"timeout": "abc"}, InvalidInputError, "timeout must be a number of seconds, not 'abc'"),
            ({"timeout": True}, InvalidInputError, "timeout must be a number of seconds, not 'True'"),
            ({"expires": -1}, InvalidInputError, "expires must be a number of seconds, not '-1'"),
            ({"volumes": {"v1": "/data"}}, InvalidValueError, "The length of ptype must be between 3 and 63"),
            ({"volumes": {"vol1": "data"}}, InvalidValueError, "Volume path format: /path"),
            ({"volumes": [1]}, InvalidValueError, "volumes must be an object: volume name to mount path"),
            (
                {"volumes": {"vol1": "/data"}},
                NotSupportedError,
                "this engine has no volumes: run the command without them",
            ),
        ],
    )
    async def test_what_cannot_run_leaves_nothing(
        self, shop: Core, body: Mapping[str, Any], error: type[SuiteError], detail: str
    ) -> None:
        with pytest.raises(error) as caught:
            await start(shop, **body)
        assert caught.value.detail == detail
        async with shop.work() as uow:
            assert (await Jobs(uow).list("shop")).total == 0

    async def test_volumes_are_mounted(self, shop: Core) -> None:
        able = replace(shop, engine=Counting(clock=shop.clock, features=frozenset(("volumes",))))
        async with able.work() as uow:
            for name in ("data", "cache"):
                await Volumes(uow).create("shop", {"name": name, "size": "1G", "type": "csi"}, actor=ANA)
            await Volumes(uow).mount("shop", "cache", {"path": {"run": "/cache"}}, actor=ANA)
        asked = await spec_of(able, await start(able, volumes={"data": "/data/"}))
        assert asked.process.mounts == (Mount("data", "/data"),)
        default = await spec_of(able, await start(able))
        assert default.process.mounts == (Mount("cache", "/cache"),)
        with pytest.raises(InvalidInputError, match="volume none is not one of this app"):
            await start(able, volumes={"none": "/data"})

    async def test_without_a_build_nothing_runs(self, core: Core) -> None:
        await core.app()
        with pytest.raises(InvalidInputError, match="no build available, please deploy a release"):
            await start(core)

    async def test_what_the_engine_can_never_run_is_refused_at_once(self, shop: Core) -> None:
        class Choosy(MemoryEngine):
            def check(self, process: Any) -> None:
                raise NotSupportedError("no containers here")

        with pytest.raises(NotSupportedError, match="no containers here"):
            await start(replace(shop, engine=Choosy()))

    @pytest.mark.parametrize(
        ("command", "shown"),
        [
            ("backup --token s3cret", "backup"),
            ("TOKEN=s3cret backup", "***"),
            (["backup", "s3cret"], "backup"),
            ("'a s3cret", "'a"),
        ],
    )
    async def test_secrets_in_commands_stay_secret(self, shop: Core, command: object, shown: str) -> None:
        job = await start(shop, command=command)
        async with shop.work() as uow:
            entry = (await AuditTrail(uow).list(AuditFilter(app="shop", action="job.started")))[0]
            row = (await uow.session.scalars(select(JobRow).where(JobRow.name == job.name))).one()
        assert entry.target == job.name
        assert entry.after == {"command": shown, "ptype": "run", "release": 2}
        assert "s3cret" not in f"{job!r} {row.sealed_command} {row.options}"


class TestOutcomes:
    @pytest.mark.parametrize(("code", "state", "reason"), [(0, "down", None), (3, "crashed", "process-crashed")])
    async def test_the_end_is_kept_until_it_expires(
        self, shop: Core, clock: FakeClock, code: int, state: str, reason: str | None
    ) -> None:
        shop.engine.script_jobs(code, "one", "two")
        job = await start(shop, expires=60)
        await keeper(shop).keep("shop")
        done = await get(shop, job)
        assert (done.state, done.exit_code, done.reason, done.log) == (state, code, reason, ("one", "two"))
        assert (done.started_at, done.finished_at) == (clock.now(), clock.now())
        assert done.expires_at == clock.now() + timedelta(seconds=60)
        assert bool(done.hint) is (code != 0)
        shop.engine.forget_job("shop", job.name)
        await keeper(shop).keep("shop")
        assert await get(shop, job) == done
        clock.advance(timedelta(seconds=61))
        async with shop.work() as uow:
            assert await Jobs(uow).prune() == 1
        with pytest.raises(ObjectNotFoundError, match="No Job matches the given query"):
            await get(shop, job)

    async def test_a_running_one_is_seen_running(self, shop: Core) -> None:
        shop.engine.script_jobs(None, "working")
        job = await start(shop)
        await keeper(shop).keep("shop")
        assert (await get(shop, job)).state == "up"
        shop.engine.finish_job("shop", job.name, 0)
        await keeper(shop).keep("shop")
        assert (await get(shop, job)).state == "down"

    async def test_one_that_the_engine_lost_is_not_run_again(self, shop: Core) -> None:
        shop.engine.script_jobs(None)
        job = await start(shop)
        await keeper(shop).keep("shop")
        shop.engine.forget_job("shop", job.name)
        await keeper(shop).keep("shop")
        done = await get(shop, job)
        assert (done.state, done.reason, done.exit_code) == ("crashed", "lost", None)
        assert done.log == ("the engine does not know this command any more",)
        assert done.hint

    async def test_a_refusal_of_the_engine_is_the_outcome(self, shop: Core) -> None:
        shop.engine.refuse_jobs(NotSupportedError("too many processes: the quota of the app is used up"))
        job = await start(shop)
        await keeper(shop).keep("shop")
        done = await get(shop, job)
        assert (done.state, done.reason) == ("crashed", "not-supported")
        assert done.log == ("too many processes: the quota of the app is used up",)

    async def test_an_engine_that_is_away_gets_it_later(self, shop: Core) -> None:
        shop.engine.refuse_jobs(UnavailableError("the cluster does not answer"))
        job = await start(shop)
        with pytest.raises(UnavailableError):
            await keeper(shop).keep("shop")
        waiting = await get(shop, job)
        assert waiting.state == "starting"
        assert waiting.log == ("not started yet, it is tried again: the cluster does not answer",)
        shop.engine.refuse_jobs(None)
        await keeper(shop).keep("shop")
        assert (await get(shop, job)).state == "down"

    async def test_output_that_no_column_holds(self, shop: Core) -> None:
        shop.engine.script_jobs(1, "a\0b", "x" * 5000, *map(str, range(30)))
        job = await start(shop)
        await keeper(shop).keep("shop")
        log = (await get(shop, job)).log
        assert log == tuple(map(str, range(10, 30)))
        shop.engine.script_jobs(1, "a\0b", "x" * 5000)
        job = await start(shop)
        await keeper(shop).keep("shop")
        assert (await get(shop, job)).log == ("a\N{REPLACEMENT CHARACTER}b", "x" * 2000)


class TestStopping:
    async def test_a_running_one_ends_as_stopped(self, shop: Core) -> None:
        shop.engine.script_jobs(None)
        job = await start(shop)
        await keeper(shop).keep("shop")
        await stop(shop, job)
        await stop(shop, job)
        await keeper(shop).keep("shop")
        done = await get(shop, job)
        assert (done.state, done.reason, done.exit_code) == ("crashed", "stopped", 143)
        async with shop.work() as uow:
            entries = await AuditTrail(uow).list(AuditFilter(app="shop", action="job.stopped"))
        assert [(entry.actor, entry.target) for entry in entries] == [("bo", job.name)]

    async def test_one_that_has_not_started_never_does(self, shop: Core) -> None:
        job = await start(shop)
        await stop(shop, job)
        await keeper(shop).keep("shop")
        done = await get(shop, job)
        assert (done.state, done.reason, done.started_at) == ("crashed", "stopped", None)
        assert shop.engine.begun == []  # type: ignore[attr-defined]

    async def test_one_that_has_ended_stays_as_it_is(self, shop: Core) -> None:
        job = await start(shop)
        await keeper(shop).keep("shop")
        done = await get(shop, job)
        await stop(shop, job)
        await keeper(shop).keep("shop")
        assert await get(shop, job) == done

    async def test_an_unknown_one(self, shop: Core) -> None:
        with pytest.raises(ObjectNotFoundError):
            await stop(shop, replace(await start(shop), name="shop-run-none"))


class TestCrashes:
    async def test_killed_anywhere_it_runs_once(self, shop: Core) -> None:
        engine = shop.engine
        assert isinstance(engine, Counting)
        await keeper(shop).keep("shop")  # connections are open from here on
        for number in range(1, 200):
            job = await start(shop)
            was_killed = await kill_at(keeper(shop).keep("shop"), number)
            await keeper(shop).keep("shop")
            assert (await get(shop, job)).state == "down"
            assert engine.begun.count(job.name) == 1
            if not was_killed:
                break
        else:
            raise AssertionError("it never came to an end")
        assert number > 3

    async def test_two_workers_do_not_start_it_twice(self, shop: Core) -> None:
        job = await start(shop)
        await asyncio.gather(*(keeper(shop).keep("shop") for _ in range(5)))
        await keeper(shop).keep("shop")
        assert shop.engine.begun == [job.name]  # type: ignore[attr-defined]

    async def test_an_app_that_was_destroyed_meanwhile_runs_nothing(self, shop: Core) -> None:
        class Slow(MemoryEngine):
            async def run(self, job: JobSpec) -> None:
                async with shop.work() as uow:
                    await Apps(uow).delete("shop", actor=ANA)
                await super().run(job)

        engine = Slow(clock=shop.clock)
        engine.script_jobs(None)
        job = await start(shop)
        await keeper(replace(shop, engine=engine)).keep("shop")
        state = await engine.job("shop", job.name)
        assert state is not None
        assert (state.state, state.reason) == ("crashed", "stopped")
        async with shop.work() as uow:
            assert await Jobs(uow).busy_apps() == ()


@asynccontextmanager
async def at_work(core: Core) -> AsyncIterator[None]:
    task = asyncio.create_task(keeper(core).run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_the_keeper_is_woken_by_requests_and_by_the_engine(shop: Core) -> None:
    live = replace(shop, clock=SystemClock())
    live.engine.script_jobs(None)

    async def is_in(job: Job, state: str) -> bool:
        return (await get(live, job)).state == state

    async with at_work(live):
        job = await start(live)
        await eventually(lambda: is_in(job, "up"))
        live.engine.finish_job("shop", job.name, 0)
        await eventually(lambda: is_in(job, "down"))
        other = await start(live)
        await eventually(lambda: is_in(other, "up"))
        await stop(live, other)
        await eventually(lambda: is_in(other, "crashed"))
        live.engine.refuse_jobs(UnavailableError("away"))
        third = await start(live)

        async def is_told_to_wait() -> bool:
            return bool((await get(live, third)).log)

        await eventually(is_told_to_wait)
        live.engine.refuse_jobs(None)
        await eventually(lambda: is_in(third, "up"))


async def test_a_keeper_that_starts_finds_what_was_left(shop: Core) -> None:
    left = await start(shop)
    async with shop.database.transaction() as session:
        await session.execute(text("UPDATE jobs SET expires_at = :past").bindparams(past=shop.clock.now()))
    old = await start(shop)
    async with shop.database.transaction() as session:
        expired = text("UPDATE jobs SET state = 'down', expires_at = created - interval '1 hour' WHERE name = :name")
        await session.execute(expired.bindparams(name=old.name))

    async def is_gone() -> bool:
        async with shop.work() as uow:
            return [job.name for job in (await Jobs(uow).list("shop")).items] == [left.name]

    async def is_down() -> bool:
        return (await get(shop, left)).state == "down"

    async with at_work(shop):
        await eventually(is_gone)
        await eventually(is_down)


async def test_the_config_of_run_may_change_after_it_was_asked_for(shop: Core) -> None:
    job = await start(shop, command="echo $A")
    async with shop.work() as uow:
        await Configs(uow).change("shop", {"values": [{"name": "A", "value": "2", "ptype": "run"}]}, actor=ANA)
    assert "A" not in (await spec_of(shop, job)).process.env
