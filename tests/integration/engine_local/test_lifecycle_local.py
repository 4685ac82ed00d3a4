"""Processes of an app: started, scaled, replaced, restarted, stopped."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.domain.spec import Probe
from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, Bench


async def test_starts_what_is_wanted(bench: Bench) -> None:
    web, worker = bench.process(apps.GOOD), bench.process(apps.WORKER, "worker", replicas=2)
    await bench.apply(web, worker)
    await bench.settled(web)
    observation = await bench.settled(worker)
    assert [(i.ptype, i.state, i.ready, i.release, i.restarts) for i in observation.instances] == [
        ("web", "up", True, 2, 0),
        ("worker", "up", True, 2, 0),
        ("worker", "up", True, 2, 0),
    ]
    assert all(instance.name.startswith(f"{APP}-{instance.ptype}-") for instance in observation.instances)


async def test_an_instance_sees_only_its_own_environment(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATFORM_SECRET", "not for apps")
    env = {"COLOUR": "red", "PORT": "5000"}
    spec = bench.process(apps.SHOWS_ENVIRONMENT, "worker", env=env)
    await bench.apply(spec)
    observation = await bench.settled(spec)
    name = observation.instances[0].name
    text = await eventually(lambda: _log_with(bench, "stdin")) or ""
    lines = [line.split(": ", 1)[1] for line in text.splitlines()]
    seen = json.loads(lines[0])
    assert seen["COLOUR"] == "red"
    assert seen["PORT"] != "5000"
    assert seen["WORKFLOW_HOME_ID"] == bench.config.mark
    assert seen["WORKFLOW_INSTANCE"] == name
    assert "PLATFORM_SECRET" not in seen
    assert lines[1].endswith("/source")
    assert seen["HOME"] == lines[1].removeprefix("cwd ")
    assert lines[2] == "stdin b''"


async def _log_with(bench: Bench, word: str) -> str | None:
    text = await bench.log()
    return text if word in text else None


async def test_scales_up_and_down_without_touching_those_that_stay(bench: Bench) -> None:
    one = bench.process(apps.WORKER, "worker")
    await bench.apply(one)
    first = (await bench.settled(one)).instances[0].name
    three = replace(one, replicas=3)
    await bench.apply(three)
    assert first in {instance.name for instance in (await bench.settled(three)).instances}
    await bench.apply(one)
    await bench.settled(one)
    left = await eventually(lambda: _only(bench, 1))
    assert left == [first]
    none = replace(one, replicas=0)
    await bench.apply(none)
    await eventually(lambda: _none_left(bench))


async def _only(bench: Bench, count: int) -> list[str] | None:
    names = [instance.name for instance in (await bench.engine.observe(APP)).instances]
    return names if len(names) == count else None


async def _none_left(bench: Bench) -> bool:
    return not (await bench.engine.observe(APP)).instances


async def test_a_restart_token_replaces_every_instance(bench: Bench) -> None:
    spec = bench.process(apps.GOOD, replicas=2)
    await bench.apply(spec)
    before = {instance.name for instance in (await bench.settled(spec)).instances}
    again = replace(spec, restart_token="2")
    await bench.apply(again)
    await bench.settled(again)
    after = await eventually(lambda: _only(bench, 2))
    assert not before & set(after or [])


async def test_a_failing_new_release_leaves_the_old_one_alone(bench: Bench) -> None:
    good = bench.process(apps.GOOD)
    await bench.apply(good)
    old = (await bench.settled(good)).instances[0].name
    await bench.apply(bench.process(apps.CRASH, release=3))
    state = await bench.failed()
    assert state.failure is not None
    assert state.failure.code == "process-crashed"
    assert (state.ready, state.settled) == (1, False)
    kept = {instance.name: instance for instance in (await bench.engine.observe(APP)).instances}
    assert kept[old].ready
    await bench.apply(good)
    assert [i.name for i in (await bench.settled(good)).instances if i.ready] == [old]
    assert (await bench.state()).failure is None


async def test_of_several_specs_in_a_row_the_last_wins(bench: Bench) -> None:
    specs = [bench.process(apps.SLOW_START, env={"NAME": f"v{number}"}) for number in range(5)]
    for spec in specs:
        await bench.apply(spec)
        await asyncio.sleep(0)
    await bench.settled(specs[-1])
    await eventually(lambda: _only(bench, 1))
    observation = await bench.engine.observe(APP)
    assert [instance.fingerprint for instance in observation.instances] == [specs[-1].fingerprint]
    assert len(bench.processes()) == 1


async def test_a_process_that_dies_is_started_again(bench: Bench) -> None:
    spec = bench.process(apps.GOOD)
    await bench.apply(spec)
    name = (await bench.settled(spec)).instances[0].name
    for process in bench.processes():
        process.send_signal(signal.SIGKILL)

    async def restarted() -> bool:
        instances = (await bench.engine.observe(APP)).instances
        return [(i.name, i.restarts, i.ready) for i in instances] == [(name, 1, True)]

    await eventually(restarted)
    assert (await bench.state()).failure is None
    assert "ended with signal SIGKILL" in await bench.log()


async def test_a_dead_liveness_probe_restarts_the_instance(bench: Bench) -> None:
    probe = Probe("http", 5000, "/health", period=timedelta(milliseconds=100), failure_threshold=2)
    spec = bench.process(apps.GOOD, liveness=probe, env={"HEALTH": "500 Bad"})
    await bench.apply(spec)

    async def restarted() -> bool:
        return any(instance.restarts for instance in (await bench.engine.observe(APP)).instances)

    await eventually(restarted)
    assert "failed its liveness check (GET /health answered 500)" in await bench.log()


@pytest.mark.parametrize("status", ["200 OK", "302 Found"])
async def test_an_http_probe_decides_about_readiness(bench: Bench, status: str) -> None:
    probe = Probe("http", 5000, "/health", period=timedelta(milliseconds=100))
    spec = bench.process(apps.GOOD, readiness=probe, env={"HEALTH": status})
    await bench.apply(spec)
    await bench.settled(spec)


async def test_a_command_probe_runs_beside_the_instance(bench: Bench) -> None:
    command = ("/bin/sh", "-c", 'test -e app.py && test -n "$PORT"')
    probe = Probe("exec", command=command, period=timedelta(milliseconds=100), timeout=timedelta(seconds=5))
    spec = bench.process(apps.WORKER, "worker", readiness=probe)
    await bench.apply(spec)
    await bench.settled(spec)


async def test_an_app_may_listen_on_ipv6_only(bench: Bench) -> None:
    spec = bench.process(apps.ON_IPV6)
    await bench.apply(spec)
    await bench.settled(spec)


async def test_a_stopped_instance_is_replaced(bench: Bench) -> None:
    spec = bench.process(apps.WORKER, "worker")
    await bench.apply(spec)
    name = (await bench.settled(spec)).instances[0].name
    await bench.engine.stop_instance(APP, name)
    await bench.engine.stop_instance(APP, "shop-worker-unknown")
    names = await eventually(lambda: _replaced(bench, name))
    assert names


async def _replaced(bench: Bench, name: str) -> list[str] | None:
    names = [i.name for i in (await bench.engine.observe(APP)).instances if i.ready]
    return names if names and name not in names else None


@pytest.mark.parametrize("script", [apps.IGNORES_SIGTERM, apps.DOUBLE_FORK])
async def test_nothing_survives_a_stop(bench: Bench, script: str) -> None:
    spec = bench.process(script, "worker", grace_period=timedelta(milliseconds=300))
    await bench.apply(spec)
    await bench.settled(spec)
    assert bench.processes()
    await bench.engine.remove(APP)
    assert bench.processes() == []
    assert (await bench.engine.observe(APP)).instances == ()


async def test_what_a_crashed_process_left_is_ended_before_the_next_start(bench: Bench) -> None:
    spec = bench.process(apps.DOUBLE_FORK, "worker", grace_period=timedelta(milliseconds=200))
    await bench.apply(spec)
    await bench.settled(spec)
    before = bench.processes()
    (leader,) = [process for process in before if process.ppid() == os.getpid()]
    (daemon,) = [process for process in before if process != leader]
    leader.kill()

    async def replaced() -> bool:
        return (await bench.state("worker")).settled and not daemon.is_running()

    await eventually(replaced)


async def test_removing_an_app_takes_everything_along(bench: Bench) -> None:
    spec = bench.process(apps.GOOD)
    await bench.apply(spec, bench.process(apps.WORKER, "worker"))
    await bench.settled(spec)
    await bench.engine.remove(APP)
    assert bench.processes() == []
    assert (await bench.engine.observe(APP)).ptypes == ()
    assert not (bench.config.logs / APP).exists()
    await bench.engine.remove(APP)


async def test_a_type_that_is_no_longer_wanted_goes(bench: Bench) -> None:
    web, worker = bench.process(apps.GOOD), bench.process(apps.WORKER, "worker")
    await bench.apply(web, worker)
    await bench.settled(worker)
    await bench.apply(web)
    await eventually(lambda: _only(bench, 1))
    assert (await bench.engine.observe(APP)).ptype("worker") is None
