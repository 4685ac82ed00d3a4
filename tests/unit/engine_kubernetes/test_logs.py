"""Output of pods from an API server that breaks, refuses and hangs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.engine.kubernetes import log_reader, logs, names
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.findings import LogSource
from controller.engine.kubernetes.instances import container_of, instance_of, origin_of, pod_of
from controller.engine.kubernetes.kinds import NAMESPACE, POD
from controller.engine.kubernetes.logs import Logs
from shared.errors import NotFoundError
from shared.kubernetes.errors import ClusterUnavailableError
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.kubelet_server import Container, KubeletServer

APP = "shop"
WEB, OTHER = "shop-web-5d8f9c7b6-aaaaa", "shop-web-5d8f9c7b6-bbbbb"


def at(second: int, text: str, fraction: int = 0) -> tuple[str, str]:
    return f"2026-01-05T12:{second // 60:02}:{second % 60:02}.{fraction:09}Z", text


class World:
    """A server, a cache that is told what there is, and the logs."""

    def __init__(self, server: KubeletServer, client: Client) -> None:
        self.server = server
        self.client = client
        self.cache = Cache(client, kinds=())
        self.logs = Logs(client, self.cache, most_followed=3)
        self._version = 0

    def put(self, thing: Manifest) -> None:
        self._version += 1
        thing["metadata"]["resourceVersion"] = str(self._version)
        self.cache.take_written(thing)

    def pod(
        self, name: str = WEB, *, run: str | None = "run-1", ended: str = "", restarts: int = 0, **more: Any
    ) -> None:
        """A pod as the API server tells of it: `run` is what runs, `ended` what ran before."""
        status: Manifest = {"name": "shop-web", "restartCount": restarts, "state": {}}
        if run is not None:
            status |= {"containerID": run, "state": {"running": {}}}
        if ended:
            status["lastState"] = {"terminated": {"containerID": ended}}
        self.put(pod_manifest(name, status, **more))

    def gone(self, name: str = WEB) -> None:
        self.cache.take_deleted(POD, APP, name, uid=f"uid-{name}")

    async def read(self, instance: str | None = None, *, lines: int = 100, follow: bool = False) -> str:
        pieces = [piece async for piece in self.logs.stream(APP, instance=instance, lines=lines, follow=follow)]
        return b"".join(pieces).decode()


class Follower:
    """Reads what comes."""

    def __init__(self, world: World, instance: str | None = None, *, lines: int = 100) -> None:
        self.text = ""
        self._source = world.logs.stream(APP, instance=instance, lines=lines, follow=True)
        self.task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            async for piece in self._source:
                self.text += piece.decode()
        finally:
            await self._source.aclose()

    async def says(self, text: str) -> None:
        await eventually(lambda: self.text == text, timeout=10)

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


def pod_manifest(name: str, status: Manifest, ptype: str = "web", phase: str = "Running", **metadata: Any) -> Manifest:
    labels = names.pod_labels(APP, ptype, 1)
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": APP, "uid": f"uid-{name}", "labels": labels, **metadata},
        "spec": {"containers": [{"name": f"shop-{ptype}"}, {"name": "proxy"}]},
        "status": {"phase": phase, "containerStatuses": [{**status, "name": f"shop-{ptype}"}]},
    }


def job_manifest(name: str, ptype: str = "run") -> Manifest:
    labels = names.labels(APP, ptype)
    metadata = {"name": name, "namespace": APP, "uid": f"uid-{name}", "labels": labels}
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": {}, "status": {}}


def of_job(name: str) -> Manifest:
    return {"ownerReferences": [{"kind": "Job", "name": name, "uid": f"uid-{name}", "controller": True}]}


@asynccontextmanager
async def world_at(server: KubeletServer, kubeconfig: Path) -> AsyncIterator[World]:
    client = Client(Kubeconfig(kubeconfig), deadline=5)
    await client.open()
    world = World(server, client)
    world.put({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": APP, "labels": names.labels(APP)}})
    try:
        yield world
    finally:
        await world.cache.close()
        await client.close()


@asynccontextmanager
async def world_of(directory: Path) -> AsyncIterator[World]:
    server = KubeletServer()
    async with server.running(directory) as kubeconfig, world_at(server, kubeconfig) as world:
        yield world


async def test_one_instance_is_read_as_it_was_written(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod()
        world.server.containers[WEB] = Container([at(1, "one"), at(2, "  two\r"), at(3, "")])
        assert await world.read(WEB) == "one\n  two\r\n\n"
        assert await world.read(WEB, lines=2) == "  two\r\n\n"
        assert await world.read(WEB, lines=0) == "one\n  two\r\n\n"
        assert [query.get("tailLines") for query in world.server.queries] == ["100", "2", None]
        assert {query["container"] for query in world.server.queries} == {"shop-web"}


async def test_what_is_no_instance_is_not_found(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.put(job_manifest("shop-filer-1", "filer"))
        world.put(pod_manifest("shop-filer-1-zzzzz", {}, "filer", **of_job("shop-filer-1")))
        world.pod()
        world.server.containers[WEB] = Container(missing=True)
        for name in ("shop-web-none", "shop-filer-1", "shop-filer-1-zzzzz", "../../secrets", WEB):
            with pytest.raises(NotFoundError, match=r"no output of .* is kept; see `drycc ps` for what runs"):
                await world.read(name)


async def test_nothing_has_started_yet(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod(run=None, phase="Pending")
        container = world.server.containers[WEB] = Container(refusal="container is waiting to start")
        assert await world.read(WEB) == await world.read() == ""
        follower, whole = Follower(world, WEB), Follower(world)
        await asyncio.sleep(0)
        container.refusal = ""
        container.say(at(1, "at last"))
        world.pod()
        await follower.says("at last\n")
        await whole.says("2026-01-05T12:00:01.000000Z shop[web.5d8f9c7b6-aaaaa]: at last\n")
        container.end()
        world.gone()
        await follower.task
        await whole.stop()


async def test_a_silent_restart_shows_the_run_before(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod(run="run-2", ended="run-1", restarts=1)
        container = world.server.containers[WEB] = Container([], previous=[at(1, "Traceback"), at(2, "no table")])
        assert await world.read(WEB) == "Traceback\nno table\n"
        assert (await world.read()).count("shop[web.5d8f9c7b6-aaaaa]: ") == 2
        source = LogSource(WEB, "shop-web", previous=False)
        assert await world.logs.tail(APP, source, lines=1) == ("no table",)
        container.say(at(3, "up again"))
        assert await world.read(WEB) == "up again\n"


async def test_weakness_44_a_broken_connection_is_taken_up_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_reader, "_FIRST_PAUSE_SECONDS", 0.01)
    async with world_of(tmp_path) as world:
        world.pod()
        lines = [at(number // 5, f"line {number}", fraction=number % 2) for number in range(40)]
        container = world.server.containers[WEB] = Container(sorted(lines), breaks_after=[3, 5, 0, 12, 7])
        follower = Follower(world, WEB, lines=35)
        expected = "".join(f"{text}\n" for _, text in sorted(lines)[5:])
        await follower.says(expected)
        assert [bool(query.get("sinceTime")) for query in world.server.queries] == [False, *[True] * 5]
        container.say(at(60, "and on"))
        await follower.says(expected + "and on\n")
        container.end()
        world.pod(run=None, ended="run-1", restarts=0)
        world.gone()
        await follower.task
        assert follower.text == expected + "and on\n"


async def test_a_server_that_goes_away_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_reader, "_LONGEST_PAUSE_SECONDS", 0.1)
    server = KubeletServer()
    container = server.containers[WEB] = Container([at(1, "before")])
    async with AsyncExitStack() as stack:
        async with server.running(tmp_path) as kubeconfig:
            world = await stack.enter_async_context(world_at(server, kubeconfig))
            world.pod()
            follower = Follower(world)
            await eventually(lambda: follower.text.endswith("before\n"))
        container.say(at(2, "meanwhile"))
        await asyncio.sleep(0.3)
        async with server.running(tmp_path):
            container.say(at(3, "after"))
            await eventually(lambda: follower.text.endswith("after\n"), timeout=10)
            texts = [line.partition(": ")[2] for line in follower.text.splitlines()]
            assert texts == ["before", "meanwhile", "after"]
            await follower.stop()


async def test_a_restart_is_followed_and_runs_are_told_apart(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod()
        first = world.server.containers[WEB] = Container([at(1, "first")])
        follower = Follower(world, WEB)
        await follower.says("first\n")
        second = world.server.containers[WEB] = Container([at(1, "second", fraction=9)])
        first.end()
        world.pod(run=None, ended="run-1", restarts=0)  # it waits to be started again
        await asyncio.sleep(0.05)
        world.pod(run="run-2", ended="run-1", restarts=1)
        await follower.says("first\nsecond\n")
        # The watch is late: the end of a run is known before that it has ended.
        second.end()
        await eventually(lambda: len(world.server.queries) >= 3)
        world.server.containers[WEB] = Container([at(2, "third")], is_running=False)
        world.pod(run="run-3", ended="run-2", restarts=2)
        await follower.says("first\nsecond\nthird\n")
        world.gone()
        await follower.task


async def test_all_instances_are_merged_in_order_of_time(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod()
        world.pod(OTHER)
        world.put(job_manifest("shop-run-x1"))
        world.put(pod_manifest("shop-run-x1-kkkkk", {"state": {"running": {}}}, "run", **of_job("shop-run-x1")))
        world.server.containers |= {
            WEB: Container([at(1, "one"), at(4, "four")]),
            OTHER: Container([at(2, "two"), at(3, "three")]),
            "shop-run-x1-kkkkk": Container([at(5, "five")]),
        }
        expected = [
            "2026-01-05T12:00:01.000000Z shop[web.5d8f9c7b6-aaaaa]: one",
            "2026-01-05T12:00:02.000000Z shop[web.5d8f9c7b6-bbbbb]: two",
            "2026-01-05T12:00:03.000000Z shop[web.5d8f9c7b6-bbbbb]: three",
            "2026-01-05T12:00:04.000000Z shop[web.5d8f9c7b6-aaaaa]: four",
            "2026-01-05T12:00:05.000000Z shop[run.x1]: five",
        ]
        assert (await world.read()).splitlines() == expected
        assert (await world.read(lines=2)).splitlines() == expected[3:]
        assert await world.read("shop-run-x1") == "five\n"


async def test_those_who_come_join_and_those_who_end_leave(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod()
        one = world.server.containers[WEB] = Container([at(1, "old"), at(2, "one")])
        follower = Follower(world, lines=1)
        await eventually(lambda: follower.text.endswith(": one\n"))
        two = world.server.containers[OTHER] = Container([at(3, "two"), at(4, "too")])
        world.pod(OTHER)
        await eventually(lambda: follower.text.endswith(": too\n"))
        one.end()
        world.gone()
        two.say(at(5, "alone"))
        await eventually(lambda: follower.text.endswith(": alone\n"))
        assert [line.partition(": ")[2] for line in follower.text.splitlines()] == ["one", "two", "too", "alone"]
        two.end()
        world.gone(OTHER)
        world.cache.take_deleted(NAMESPACE, APP, APP, uid="")
        await follower.task


async def test_one_that_cannot_be_read_does_not_hide_the_others(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod()
        world.pod(OTHER)
        world.server.containers = {WEB: Container([at(1, "fine")]), OTHER: Container([at(1, "x")], breaks_after=[0])}
        text = await world.read()
        assert "shop[web.5d8f9c7b6-aaaaa]: fine\n" in text
        assert "shop[web.5d8f9c7b6-bbbbb]: (its output cannot be read: the API server cannot be reached:" in text
        world.server.containers[WEB].breaks_after = world.server.containers[OTHER].breaks_after = [0, 0, 0]
        with pytest.raises(ClusterUnavailableError):
            await world.read()
        world.server.containers[WEB].breaks_after = [0]
        with pytest.raises(ClusterUnavailableError):
            await world.read(WEB)


async def test_many_instances_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "READS_AT_A_TIME", 4)
    async with world_of(tmp_path) as world:
        for number in range(12):
            name = f"shop-web-5d8f9c7b6-{number:05}"
            world.pod(name)
            world.server.containers[name] = Container([at(number, f"line {number}")], seconds=0.05)
        text = await world.read()
        assert [line.partition(": ")[2] for line in text.splitlines()] == [f"line {number}" for number in range(12)]
        assert world.server.most_open == 4
        for container in world.server.containers.values():
            container.seconds = 0
        follower = Follower(world)
        await eventually(lambda: "more than 3 processes run: the output of some is not shown now" in follower.text)
        assert world.server.open_now <= 3
        for name, container in list(world.server.containers.items())[:9]:
            container.end()
            world.gone(name)
        last = next(reversed(world.server.containers.values()))
        last.say(at(60, "its turn"))
        await eventually(lambda: follower.text.endswith("its turn\n"), timeout=10)
        await follower.stop()


async def test_a_slow_reader_holds_back_and_loses_nothing(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.pod()
        lines = [at(number // 100, f"{number} {'y' * 1000}", fraction=number) for number in range(20_000)]
        world.server.containers[WEB] = Container([at(0, "start")])
        source = world.logs.stream(APP, instance=None, lines=1, follow=True)
        assert (await anext(source)).endswith(b": start\n")
        world.server.containers[WEB].say(*lines)
        await asyncio.sleep(0.5)
        got = 0
        async for piece in source:
            got += piece.count(b"\n")
            if got == len(lines):
                break
        await source.aclose()


async def test_the_last_lines_never_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "TAIL_SECONDS", 0.3)
    source = LogSource(WEB, "shop-web", previous=True)
    async with world_of(tmp_path) as world:
        assert await world.logs.tail(APP, source, lines=5) == ()
        container = world.server.containers[WEB] = Container([at(1, "now")])
        assert await world.logs.tail(APP, source, lines=5) == ()
        container.previous = [at(1, "a"), at(2, "b\r"), at(3, "c")]
        assert await world.logs.tail(APP, source, lines=2) == ("b", "c")
        container.seconds = 5
        assert await world.logs.tail(APP, source, lines=2) == ()
        container.seconds, container.breaks_after = 0, [1]
        assert await world.logs.tail(APP, source, lines=2) == ()


async def test_a_one_off_is_waited_for_and_ends(tmp_path: Path) -> None:
    async with world_of(tmp_path) as world:
        world.put(job_manifest("shop-run-x1"))
        assert await world.read("shop-run-x1") == ""
        follower = Follower(world, "shop-run-x1", lines=0)
        name = "shop-run-x1-kkkkk"
        world.server.containers[name] = Container([at(1, "done")], is_running=False)
        manifest = pod_manifest(
            name, {"state": {"terminated": {"containerID": "run-1"}}}, "run", **of_job("shop-run-x1")
        )
        manifest["status"]["phase"] = "Succeeded"
        world.put(manifest)
        await follower.task
        assert follower.text == "done\n"
        assert pod_of(world.cache, APP, "shop-run-x1") == pod_of(world.cache, APP, name)


@pytest.mark.parametrize("over", ["Failed", "Complete"])
async def test_a_one_off_that_never_had_a_pod_ends_as_well(tmp_path: Path, over: str) -> None:
    async with world_of(tmp_path) as world:
        job = job_manifest("shop-run-x1")
        world.put(job)
        follower = Follower(world, "shop-run-x1", lines=0)
        await asyncio.sleep(0.05)
        world.put({**job, "status": {"conditions": [{"type": over, "status": "True"}]}})
        await follower.task
        assert follower.text == ""


def test_names_of_pods() -> None:
    long = "x" * 60
    manifest = pod_manifest("shop-web-1-abcde", {})
    assert (instance_of(manifest), container_of(manifest), origin_of(manifest)) == (
        "shop-web-1-abcde", "shop-web", "web.1-abcde",
    )  # fmt: skip
    manifest["metadata"]["labels"][names.TYPE] = long
    assert origin_of(manifest) == f"{long}.abcde"
    assert container_of(manifest) == "shop-web"
    manifest["metadata"]["labels"][names.HERITAGE] = "somebody"
    assert instance_of(manifest) is None


async def test_an_expired_token_is_read_again_for_commands_too(tmp_path: Path) -> None:
    server = KubeletServer()
    refused = iter([401])
    server.answer_exec = lambda command: next(refused, None)
    async with server.running(tmp_path) as kubeconfig:
        client = Client(Kubeconfig(kubeconfig))
        await client.open()
        query = [("command", "true")]
        path = f"/api/v1/namespaces/{APP}/pods/{WEB}/exec"
        protocols = ("v5.channel.k8s.io",)
        socket = await client.websocket("run a command", path, query=query, protocols=protocols)
        assert socket.protocol == "v5.channel.k8s.io"
        assert len(server.commands) == 2
        await socket.close()
        await client.close()
