"""The memory engine and the reconciler's queue."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from controller.background.queue import WorkQueue
from controller.domain.spec import AppSpec, JobSpec, ProcessSpec
from controller.engine.memory import MemoryEngine
from controller.engine.port import Engine
from shared.errors import NotFoundError
from shared.testing.clock import FakeClock
from shared.testing.wait import eventually

WEB = ProcessSpec("web", 2, 3, "i", "s")
SPEC = AppSpec("shop", (WEB,))


async def test_it_is_an_engine_and_true_at_once() -> None:
    engine = MemoryEngine()
    port: Engine = engine
    await port.start()
    await port.apply(SPEC)
    seen = await port.observe("shop")
    assert [state.settled for state in seen.ptypes] == [True]
    assert {instance.state for instance in seen.instances} == {"up"}
    await port.apply(SPEC)
    assert (await port.observe("shop")).instances == seen.instances
    assert engine.applies == {"shop": 2}
    await port.apply(AppSpec("shop", (replace(WEB, replicas=1),)))
    assert (await port.observe("shop")).instances == seen.instances[:1]
    await port.remove("shop")
    await port.remove("shop")
    assert (await port.observe("shop")).ptypes == ()
    assert await port.job("shop", "x") is None
    await port.close()


async def test_failures_leave_the_old_instances() -> None:
    engine = MemoryEngine()
    await engine.apply(SPEC)
    engine.fail("shop", "web")
    await engine.apply(AppSpec("shop", (replace(WEB, release=4),)))
    seen = await engine.observe("shop")
    assert {instance.release for instance in seen.instances} == {3}
    assert seen.ptypes[0].failure is not None
    assert not seen.ptypes[0].settled
    await engine.apply(SPEC)
    assert (await engine.observe("shop")).ptypes[0].failure is None


async def test_a_stopped_instance_is_replaced_and_watchers_hear_of_it() -> None:
    engine = MemoryEngine()
    await engine.apply(SPEC)
    heard: list[str] = []

    async def watch() -> None:
        async for name in engine.watch():
            heard.append(name)

    task = asyncio.create_task(watch())
    await asyncio.sleep(0)
    first = (await engine.observe("shop")).instances[0].name
    await engine.stop_instance("shop", first)
    await engine.stop_instance("nope", first)
    names = {instance.name for instance in (await engine.observe("shop")).instances}
    assert first not in names
    assert len(names) == 2
    await eventually(lambda: heard == ["shop"] or len(heard) > 0)
    await engine.close()
    await task


async def test_jobs_logs_and_sessions() -> None:
    engine = MemoryEngine()
    await engine.apply(SPEC)
    engine.script_jobs(2, "bad")
    job = JobSpec("shop", "shop-run-abc", replace(WEB, ptype="run", args=("ls",)), timedelta(seconds=5))
    await engine.run(job)
    await engine.run(job)
    state = await engine.job("shop", job.name)
    assert state is not None
    assert (state.state, state.exit_code, state.log, state.finished) == ("crashed", 2, ("bad",), True)
    engine.write_log("shop", "hello", instance="one")
    lines = [line async for line in engine.logs("shop", instance=None, lines=0, follow=False)]
    assert lines == [b"shop[run.1]: ls\n", b"hello\n"]
    assert [line async for line in engine.logs("shop", instance="one", lines=9, follow=False)] == [b"hello\n"]
    assert [line async for line in engine.logs("nope", instance=None, lines=9, follow=False)] == []
    name = (await engine.observe("shop")).instances[0].name
    session = await engine.exec("shop", name, command=["sh", "-i"], tty=False, stdin=True)
    await session.write(b"hi")
    await session.resize(height=2, width=3)
    await session.write(b"")
    assert [await session.read() for _ in range(3)] == [(1, b"sh -i\n"), (1, b"hi"), None]
    assert await session.wait() == 0
    await session.close()
    with pytest.raises(NotFoundError):
        await engine.exec("shop", "nope", command=["x"], tty=False, stdin=False)


async def test_a_follower_gets_what_comes() -> None:
    engine = MemoryEngine()
    await engine.apply(SPEC)
    stream = engine.logs("shop", instance=None, lines=10, follow=True)
    reading = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    engine.write_log("shop", "later")
    assert await reading == b"later\n"


async def test_a_name_is_worked_on_by_one_at_a_time() -> None:
    queue = WorkQueue(FakeClock())
    queue.add("a")
    queue.add("a")
    assert await queue.take() == "a"
    queue.add("a")
    waiting = asyncio.ensure_future(queue.take())
    await asyncio.sleep(0)
    assert not waiting.done()
    queue.done("a")
    assert await waiting == "a"
    queue.done("a")
    await queue.close()


async def test_an_alarm_replaces_the_one_before() -> None:
    clock = FakeClock()
    queue = WorkQueue(clock)
    queue.set_alarm("a", clock.now() + timedelta(seconds=5))
    queue.set_alarm("a", clock.now() + timedelta(seconds=9))
    queue.set_alarm("b", clock.now() + timedelta(seconds=5))
    queue.set_alarm("b", None)
    waiting = asyncio.ensure_future(queue.take())
    await eventually(lambda: clock.sleepers >= 1)
    clock.advance(timedelta(seconds=5))
    await asyncio.sleep(0)
    assert not waiting.done()
    clock.advance(timedelta(seconds=4))
    assert await waiting == "a"
    queue.set_alarm("c", clock.now() + timedelta(seconds=5))
    await queue.close()
