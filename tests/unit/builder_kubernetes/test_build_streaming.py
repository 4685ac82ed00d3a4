"""The output of a build's containers: every line once, through broken connections and over a new start."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from builder.runner.kubernetes import streaming
from builder.runner.kubernetes.kinds import FIELD_MANAGER, KINDS, POD
from builder.runner.kubernetes.streaming import Position, Streamer
from builder.runner.kubernetes.watching import Seen
from shared.kubernetes.client import Client
from shared.kubernetes.transport import Kubeconfig
from support.builds import ListLog
from support.kubelet_server import Container, KubeletServer

BUILDS, NAME = "builds", "build-shop-1-x"


def pod(*, is_over: bool) -> dict[str, Any]:
    state = {"terminated": {"exitCode": 0}} if is_over else {"running": {}}
    return {
        "metadata": {"name": NAME, "uid": "1"},
        "spec": {"containers": [{"name": "build"}]},
        "status": {"phase": "Running", "containerStatuses": [{"name": "build", "state": state}]},
    }


class Build:
    """A container that says what a test lets it say, and who reads it."""

    def __init__(self, server: KubeletServer, client: Client[Any]) -> None:
        self.server = server
        self.client = client
        self.container = server.containers.setdefault(NAME, Container())
        self.log = ListLog()

    async def read(self, *, is_over: bool = True) -> Streamer:
        seen = Seen(self.client, BUILDS, "1")
        seen.take(POD, pod(is_over=is_over))
        streamer = Streamer(self.client, BUILDS, seen, self.log)
        reading = asyncio.create_task(streamer.stream(NAME, "build"))
        if not is_over:
            await asyncio.sleep(0.1)
            self.container.end()
            seen.take(POD, pod(is_over=True))
        await reading
        return streamer


@asynccontextmanager
async def build_on(directory: Path) -> AsyncIterator[Build]:
    server = KubeletServer()
    async with server.running(directory) as kubeconfig:
        client = Client(Kubeconfig(kubeconfig), KINDS, manager=FIELD_MANAGER, deadline=5)
        await client.open()
        try:
            yield Build(server, client)
        finally:
            await client.close()


def at(second: int, fraction: str, text: str) -> tuple[str, str]:
    return (f"2026-01-05T10:00:{second:02}.{fraction}Z", text)


async def test_lines_come_plain_and_in_order(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        build.container.say(at(1, "000000001", "---> Building"), at(1, "000000002", "\x1b[32mgreen\x1b[0m"))
        build.container.end()
        streamer = await build.read()
        assert build.log.text == "---> Building\ngreen\n"
        assert streamer.tail == ("---> Building", "green")
        assert build.log.position == "build 2026-01-05T10:00:01.000000002Z"


async def test_a_new_process_goes_on_after_the_last_line_that_was_written(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        lines = [at(1, f"00000000{number}", f"line {number}") for number in range(1, 6)]
        build.container.say(*lines)
        build.container.end()
        build.log.position = str(Position("build", lines[2][0]))
        await build.read()
        assert build.log.text == "line 4\nline 5\n"
        assert build.server.queries[0]["sinceTime"] == "2026-01-05T10:00:01Z"


async def test_a_connection_that_breaks_loses_and_doubles_nothing(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        build.container.say(*(at(1, f"00000000{number}", f"line {number}") for number in range(1, 8)))
        build.container.breaks_after = [2, 4]
        build.container.end()
        await build.read()
        assert build.log.text == "".join(f"line {number}\n" for number in range(1, 8))


async def test_what_is_said_last_is_read_though_the_output_ended_before_the_status_said_so(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        build.container.say(at(1, "000000001", "first"))
        await build.read(is_over=False)
        assert build.log.text == "first\n"
        assert len(build.server.queries) == 2


async def test_a_line_without_an_end_comes_in_parts_and_takes_nothing_of_what_follows(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        long = "some words " * 30_000
        build.container.say(at(1, "000000001", f"{long}end"), at(1, "000000002", "after"))
        build.container.end()
        await build.read()
        *parts, last = build.log.text.splitlines()
        assert "".join(parts) == f"{long}end"
        assert last == "after"
        assert build.log.position == "build 2026-01-05T10:00:01.000000002Z"


async def test_machines_of_other_time_zones_lose_and_double_nothing(tmp_path: Path) -> None:
    """Also when the clocks go back: 02:59:59+02:00 is followed by 02:00:00+01:00."""
    async with build_on(tmp_path) as build:
        stamps = ["2026-10-25T02:59:59.999999998+02:00", "2026-10-25T02:59:59.999999999+02:00"]
        stamps += ["2026-10-25T02:00:00.000000001+01:00", "2026-10-25T02:00:00.000000002+01:00"]
        build.container.say(*((stamp, f"line {number}") for number, stamp in enumerate(stamps)))
        build.log.position = "build 2026-10-25T00:59:59.999999998Z"
        build.container.end()
        await build.read()
        assert build.log.text == "line 1\nline 2\nline 3\n"
        assert build.log.position == "build 2026-10-25T01:00:00.000000002Z"


async def test_words_of_the_machine_about_output_that_it_lost_are_no_output(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        build.container.say(at(1, "000000001", "first"))
        build.container.extra = b"unable to retrieve container logs for containerd://0123\n"
        build.container.end()
        await build.read()
        assert build.log.text == "first\n"
        assert build.log.position == "build 2026-01-05T10:00:01.000000001Z"


async def test_output_that_is_not_kept_any_more_ends_the_reading(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        build.container.refusal = 'container "build" in pod "build-shop-1-x" is terminated'
        async with asyncio.timeout(5):
            await build.read()
        assert build.log.text == ""


async def test_output_that_no_machine_gives_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(streaming, "_PAUSE_SECONDS", 0.01)
    async with build_on(tmp_path) as build:
        build.container.refusal, build.container.refused_with = "dial tcp 10.0.0.1:10250: i/o timeout", 502
        async with asyncio.timeout(10):
            await build.read()
        assert build.log.text == ""


async def test_a_connection_that_is_dead_without_a_word_is_left(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(streaming, "_SILENCE_SECONDS", 0.2)
    monkeypatch.setattr(streaming, "_PAUSE_SECONDS", 0.01)
    async with build_on(tmp_path) as build:
        build.container.say(at(1, "000000001", "first"), at(1, "000000002", "last"))
        build.container.hangs_after = [1]
        build.container.end()
        async with asyncio.timeout(10):
            await build.read()
        assert build.log.text == "first\nlast\n"


async def test_a_pod_that_is_gone_ends_the_reading(tmp_path: Path) -> None:
    async with build_on(tmp_path) as build:
        build.container.missing = True
        await build.read()
        assert build.log.text == ""


def test_a_position_is_read_as_it_was_written() -> None:
    position = Position("export", "2026-01-05T10:00:01.000000002Z")
    assert Position.parse(str(position)) == position
    assert Position.parse("") == Position()
