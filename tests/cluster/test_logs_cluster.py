"""Output of real containers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from controller.engine.kubernetes.findings import LogSource
from controller.engine.kubernetes.kinds import POD
from controller.engine.kubernetes.logs import Logs
from shared.errors import NotFoundError
from shared.kubernetes.kinds import Manifest
from shared.testing.wait import eventually
from support.cluster_pods import app_with_rights, speaker
from support.cluster_rights import Rights
from support.cluster_world import World
from support.kubectl import Kubectl

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ([\w-]+)\[(web\.\w+)\]: (.*)")
SECONDS = 60.0


class Bench:
    """Pods of one app, and the logs that read them."""

    def __init__(self, world: World, kubectl: Kubectl, app: str) -> None:
        self.world = world
        self.kubectl = kubectl
        self.app = app
        self.logs = Logs(world.client, world.cache)

    async def start(self, name: str, script: str, *, restart: str = "Always") -> None:
        manifest: Manifest = speaker(self.app, name, script, restartPolicy=restart)
        await asyncio.to_thread(self.kubectl.apply, [manifest])
        await self.world.seen(POD, self.app, name)

    async def delete(self, name: str) -> None:
        await asyncio.to_thread(self.kubectl, "delete", "pod", name, "-n", self.app, "--now", "--wait=false")

    async def read(self, instance: str | None = None, *, lines: int = 100) -> str:
        pieces = [one async for one in self.logs.stream(self.app, instance=instance, lines=lines, follow=False)]
        return b"".join(pieces).decode()

    async def reads(self, text: str, instance: str | None = None) -> str:
        """What is read as soon as that is in it."""

        async def found() -> str | None:
            got = await self.read(instance, lines=0)
            return got if text in got else None

        got = await eventually(found, timeout=SECONDS)
        assert got is not None
        return got

    def restarts(self, name: str) -> int:
        entry = self.world.cache.find(POD, self.app, name)
        statuses = () if entry is None else entry.object.get("status", {}).get("containerStatuses") or ()
        return sum(int(one["restartCount"]) for one in statuses)


class Follower:
    """Reads what comes."""

    def __init__(self, bench: Bench, instance: str | None = None, *, lines: int = 0) -> None:
        self.text = ""
        self.task = asyncio.create_task(self._read(bench, instance, lines))

    async def _read(self, bench: Bench, instance: str | None, lines: int) -> None:
        source = bench.logs.stream(bench.app, instance=instance, lines=lines, follow=True)
        try:
            async for piece in source:
                self.text += piece.decode()
        finally:
            await source.aclose()

    async def hears(self, text: str) -> None:
        await eventually(lambda: text in self.text, timeout=SECONDS)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest_asyncio.fixture
async def bench(world: World, kubectl: Kubectl, rights: Rights, app: str) -> AsyncIterator[Bench]:
    """An app without pods."""
    await asyncio.to_thread(app_with_rights, kubectl, rights, app)
    await eventually(lambda: app in world.cache.apps())
    yield Bench(world, kubectl, app)


async def test_one_instance_as_it_was_written(bench: Bench) -> None:
    await bench.start("talks", "echo one; echo ' two'; echo; head -c 40000 /dev/zero | tr '\\0' y; echo; sleep 1000")
    text = await bench.reads("y\n", "talks")
    assert text == "one\n two\n\n" + "y" * 40_000 + "\n"
    assert await bench.read("talks", lines=1000) == text
    with pytest.raises(NotFoundError, match="no output of unknown is kept"):
        await bench.read("unknown")


async def test_two_pods_are_merged(bench: Bench) -> None:
    script = "for n in 1 2 3 4; do echo {} $n; sleep 0.3; done; sleep 1000"
    await bench.start("talks-one", script.format("a"))
    await bench.start("talks-two", script.format("b"))
    await bench.reads("a 4")
    lines = (await bench.reads("b 4")).splitlines()
    found = [LINE.fullmatch(line) for line in lines]
    assert lines == sorted(lines)
    assert {match[1] for match in found if match} == {bench.app}
    assert {match[2] for match in found if match} == {"web.one", "web.two"}
    said = [match[3] for match in found if match]
    assert sorted(said) == [f"{name} {number}" for name in "ab" for number in range(1, 5)]
    assert (await bench.read(lines=3)).splitlines() == lines[-3:]


async def test_following_goes_on_over_a_restart(bench: Bench) -> None:
    """One that is read from before the restart on: every line once, in order."""
    one, whole = None, None
    try:
        await bench.start("talks", "echo begin; sleep 3; echo end; exit 1")
        one, whole = Follower(bench, "talks"), Follower(bench)
        await eventually(lambda: bench.restarts("talks") >= 1, timeout=SECONDS)
        await eventually(lambda: one.text.count("end\n") >= 2, timeout=SECONDS)
        assert one.text.startswith("begin\nend\nbegin\nend\n")
        await eventually(lambda: whole.text.count(": end\n") >= 2, timeout=SECONDS)
        assert [line.partition(": ")[2] for line in whole.text.splitlines()][:4] == ["begin", "end", "begin", "end"]
        await bench.delete("talks")
        await asyncio.wait_for(one.task, SECONDS)
    finally:
        for follower in (one, whole):
            if follower is not None:
                await follower.stop()


async def test_following_waits_for_the_start_and_for_others(bench: Bench) -> None:
    follower = Follower(bench)
    try:
        # It is shown from its first line on, however late its container starts.
        await bench.start("talks-one", "echo first; sleep 1000")
        await follower.hears("[web.one]: first\n")
        await bench.start("talks-two", "echo second; sleep 1000")
        await follower.hears("[web.two]: second\n")
        await bench.delete("talks-one")
        await eventually(lambda: bench.world.cache.find(POD, bench.app, "talks-one") is None, timeout=SECONDS)
        await bench.start("talks-three", "echo third; sleep 1000")
        await follower.hears("[web.three]: third\n")
        assert follower.text.count("\n") == 3
    finally:
        await follower.stop()


async def test_one_that_has_ended_ends_the_following(bench: Bench) -> None:
    await bench.start("once", "for n in 1 2 3; do echo $n; sleep 0.2; done", restart="Never")
    follower = Follower(bench, "once")
    await asyncio.wait_for(follower.task, SECONDS)
    assert follower.text == "1\n2\n3\n"
    assert await bench.read("once", lines=2) == "2\n3\n"


async def test_the_last_lines_of_a_crash(bench: Bench) -> None:
    script = "if [ -e /data/was ]; then sleep 1000; fi; touch /data/was; echo Traceback; echo no table; exit 1"
    manifest = speaker(bench.app, "crashes", script, volumes=[{"name": "data", "emptyDir": {}}])
    manifest["spec"]["containers"][0]["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
    await asyncio.to_thread(bench.kubectl.apply, [manifest])
    await eventually(lambda: bench.restarts("crashes") == 1, timeout=SECONDS)
    container = f"{bench.app}-web"
    for previous in (False, True):
        source = LogSource("crashes", container, previous=previous)
        assert await bench.logs.tail(bench.app, source, lines=5) == ("Traceback", "no table")
    assert await bench.read("crashes") == "Traceback\nno table\n"
    unknown = LogSource("unknown", container, previous=False)
    assert await bench.logs.tail(bench.app, unknown, lines=5) == ()
