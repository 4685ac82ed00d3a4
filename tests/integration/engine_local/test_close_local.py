"""The end of the engine, on both event loops: nothing survives it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import uvloop

from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, Bench, make_bench


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_close_ends_everything(tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_close_everything(tmp_path))


async def _close_everything(base: Path) -> None:
    bench = make_bench(base)
    await bench.engine.start()
    names = ("stubborn", "daemon", "flood", "crash")
    scripts = (apps.IGNORES_SIGTERM, apps.DOUBLE_FORK, apps.FLOOD, apps.CRASH)
    specs = [
        bench.process(script, name, replicas=2, grace_period=timedelta(seconds=60))
        for name, script in zip(names, scripts, strict=True)
    ]
    web = bench.process(apps.GOOD, replicas=2)
    await bench.apply(web, *specs)
    for spec in (web, *specs[:3]):
        await bench.settled(spec)
    assert len(bench.processes()) >= 10
    # One that is on its way out already, with a minute of grace.
    await bench.apply(web, *(replace(spec, replicas=1) for spec in specs))
    session = await bench.engine.exec(APP, (await _first(bench, "web")), command=["sleep", "600"], tty=True, stdin=True)
    await bench.engine.close()
    assert bench.processes() == []
    assert session.has_ended


async def _first(bench: Bench, ptype: str) -> str:
    return next(i.name for i in (await bench.engine.observe(APP)).instances if i.ptype == ptype)


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_rollout_on_either_loop(tmp_path: Path, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def roll() -> None:
        bench = make_bench(tmp_path)
        await bench.engine.start()
        spec = bench.process(apps.GOOD)
        await bench.apply(spec)
        await bench.settled(spec)
        again = replace(spec, restart_token="2")
        await bench.apply(again)
        await bench.settled(again)
        await bench.apply(bench.process(apps.CRASH))
        state = await bench.failed()
        assert state.failure is not None
        assert state.failure.log == ("about to fail", "Traceback: no such table")
        await bench.engine.close()
        assert bench.processes() == []

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(roll())


async def test_what_a_killed_platform_left_is_ended_at_the_next_start(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    env = {"WORKFLOW_HOME_ID": bench.config.mark, "WORKFLOW_INSTANCE": "shop-web-old", "PATH": "/usr/bin:/bin"}
    stray = await asyncio.create_subprocess_exec("sleep", "600", env=env)
    await bench.engine.start()
    try:
        assert await asyncio.wait_for(stray.wait(), 5) == -9
    finally:
        await bench.engine.close()


async def test_watchers_hear_of_changes_and_of_the_end(tmp_path: Path) -> None:
    bench = make_bench(tmp_path)
    await bench.engine.start()
    heard: list[str] = []

    async def listen() -> None:
        async for app in bench.engine.watch():
            heard.append(app)

    listener = asyncio.create_task(listen())
    await asyncio.sleep(0)
    await bench.apply(bench.process(apps.WORKER, "worker"))
    await eventually(lambda: heard[:1] == [APP])
    await bench.engine.close()
    await asyncio.wait_for(listener, 5)
