"""Commands over WebSockets: the protocol, its faults, and what becomes of commands that are left alone.

The server runs them on this machine.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from controller.engine.kubernetes import exec as exec_module
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.exec import PodExecSession, open_exec
from controller.engine.kubernetes.exec_status import outcome_of
from controller.engine.port import NotSupportedError
from shared.errors import NotFoundError, UnavailableError
from shared.kubernetes.errors import ClusterForbiddenError
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.kubelet_server import KubeletServer, Status

POD = "shop-web-1-abcde"


def failure(message: str) -> Status:
    return {"status": "Failure", "reason": "InternalError", "message": f"Internal error occurred: {message}"}


NO_SHELL = failure('OCI runtime exec failed: exec failed: unable to start container process: exec: "/bin/sh": stat '
                   "/bin/sh: no such file or directory: unknown")  # fmt: skip


class Bench:
    """A server and a client."""

    def __init__(self, server: KubeletServer, client: Client) -> None:
        self.server = server
        self.client = client

    async def open(self, *command: str, tty: bool = False, stdin: bool = False) -> PodExecSession:
        return await open_exec(self.client, "shop", POD, "shop-web", command=command, tty=tty, stdin=stdin)

    async def run(self, *command: str) -> tuple[bytes, bytes, int]:
        return await finished(await self.open(*command))


async def finished(session: PodExecSession) -> tuple[bytes, bytes, int]:
    out = {1: bytearray(), 2: bytearray()}
    async with asyncio.timeout(30):
        while (piece := await session.read()) is not None:
            out[piece[0]] += piece[1]
        code = await session.wait()
    assert await session.read() is None
    await session.close()
    await session.close()
    return bytes(out[1]), bytes(out[2]), code


@asynccontextmanager
async def bench_of(directory: Path) -> AsyncIterator[Bench]:
    server = KubeletServer()
    async with server.running(directory) as kubeconfig:
        client = Client(Kubeconfig(kubeconfig), deadline=5)
        await client.open()
        try:
            yield Bench(server, client)
        finally:
            await client.close()


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"


async def test_output_and_exit_codes(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        assert await bench.run("echo", "a b", "c") == (b"a b c\n", b"", 0)
        assert await bench.run("sh", "-c", "echo out; echo err >&2; exit 3") == (b"out\n", b"err\n", 3)
        assert (await bench.run("sh", "-c", "kill -9 $$"))[2] == 137
        assert await bench.run("printf", "12345") == (b"12345", b"", 0)
        assert await bench.run("true") == (b"", b"", 0)


async def test_a_command_that_is_not_there_is_told(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        out, err, code = await bench.run("no-such-program")
        assert (out, code) == (b"", 127)
        assert b"no-such-program: not found" in err
        out, err, code = await bench.run("/etc/passwd")
        assert (out, code) == (b"", 126)
        assert b"/etc/passwd: Permission denied" in err


async def test_an_image_without_a_shell(tmp_path: Path) -> None:
    answers = {"/bin/sh": NO_SHELL, "./tool": failure('exec: "./tool": permission denied: unknown')}
    async with bench_of(tmp_path) as bench:
        bench.server.answer_exec = lambda command: answers.get(command[0])
        assert await bench.run("echo", "hi") == (b"hi\n", b"", 0)
        assert await bench.run("./tool") == (b"", b'exec: "./tool": permission denied\n', 126)
        session = await bench.open("cat", stdin=True)
        await session.close()
        assert await session.wait() == 255


async def test_what_does_not_run_is_not_found(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        gone = failure('unable to upgrade connection: container not found ("shop-web")')
        answers: list[Status | int] = [gone, 404, 400]
        bench.server.answer_exec = lambda command: answers.pop(0)
        for _ in range(3):
            with pytest.raises(NotFoundError, match=f"{POD} does not run; see `drycc ps` for what does"):
                await bench.open("true")
        answers = [403]
        with pytest.raises(ClusterForbiddenError):
            await bench.open("true")
        answers = [failure("error dialing backend: dial tcp 10.0.0.1:10250: connect: connection refused")]
        with pytest.raises(UnavailableError, match="connection refused"):
            await bench.open("true")


async def test_input_ends_and_comes_back_byte_for_byte(tmp_path: Path) -> None:
    data = os.urandom(5_000_000)
    async with bench_of(tmp_path) as bench:
        session = await bench.open("cat", stdin=True)

        async def send() -> None:
            await session.write(data)
            await session.write(b"")

        sending = asyncio.create_task(send())
        assert await finished(session) == (data, b"", 0)
        await sending
        await session.write(b"too late")


async def test_a_command_that_does_not_read_its_input_holds_nobody_up(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        session = await bench.open("head", "-c", "3", stdin=True)
        sending = asyncio.create_task(session.write(b"abc" + bytes(20_000_000)))
        assert (await finished(session))[::2] == (b"abc", 0)
        await asyncio.wait_for(sending, 5)


async def test_weakness_44_output_waits_for_its_reader(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        session = await bench.open("sh", "-c", "head -c 50000000 /dev/zero; echo end >&2; exit 4")
        await asyncio.sleep(0.3)
        out, err, code = await finished(session)
        assert (len(out), err, code) == (50_000_000, b"end\n", 4)


async def test_older_clusters_cannot_end_the_input(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        bench.server.protocols = ("v4.channel.k8s.io",)
        session = await bench.open("head", "-n", "1", stdin=True)
        with pytest.raises(NotSupportedError, match=r"Kubernetes 1\.30"):
            await session.write(b"")
        await session.write(b"line\n")
        assert await finished(session) == (b"line\n", b"", 0)
        bench.server.protocols = ("v9.channel.k8s.io",)
        with pytest.raises(UnavailableError, match=r"speaks none of v5\.channel"):
            await bench.open("true")


async def test_sizes_are_for_terminals(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        for tty in (False, True):
            session = await bench.open("sh", "-c", "read line; echo $line", stdin=True, tty=tty)
            await session.resize(height=40, width=100)
            await session.write(b"x\n")
            assert (await finished(session))[2] == 0
        assert bench.server.sizes == [{"Width": 100, "Height": 40}]


async def test_a_lost_connection_is_told(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        bench.server.cuts_exec_after = 2
        session = await bench.open("sh", "-c", "echo one; sleep 0.2; echo two; sleep 0.2; echo three; sleep 100")
        out, err, code = await finished(session)
        assert out.startswith(b"one\n")
        assert b"three" not in out
        assert err == b"the connection to the command was lost\n"
        assert code == 255


@pytest.mark.parametrize("deafness", ["", "trap '' HUP TERM; "])
async def test_closing_ends_the_command_and_its_children(tmp_path: Path, deafness: str) -> None:
    async with bench_of(tmp_path) as bench:
        session = await bench.open("sh", "-c", f"{deafness}sleep 1000 & echo $! $$; while :; do sleep 0.05; done")
        piece = await session.read()
        assert piece is not None
        pids = [int(word) for word in piece[1].split()]
        assert all(map(runs, pids))
        await session.close()
        await eventually(lambda: not any(map(runs, pids)))
        signals = [command[5:] for command in bench.server.commands[1:]]
        assert signals == [["HUP", "TERM", "CONT"], ["KILL"]][: 2 if deafness else 1]
        assert await session.read() is None


async def test_closing_while_output_floods(tmp_path: Path) -> None:
    async with bench_of(tmp_path) as bench:
        session = await bench.open("sh", "-c", "echo $$; exec cat /dev/zero")
        piece = await session.read()
        assert piece is not None
        pid = int(piece[1].split(b"\n")[0])
        await asyncio.sleep(0.2)
        await session.close()
        await eventually(lambda: not runs(pid))


async def test_a_command_that_does_not_start_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exec_module, "START_SECONDS", 0.3)
    monkeypatch.setattr(exec_module, "_WRAPPED", "sleep 2")
    async with bench_of(tmp_path) as bench:
        with pytest.raises(UnavailableError, match="did not start within"):
            await bench.open("true")


@pytest.mark.parametrize(
    ("payload", "kind", "code"),
    [
        (b"", "lost", 255),
        (b"[1]", "lost", 255),
        (b'{"status":"Failure"}', "lost", 255),
        (b'{"status":"Failure","details":{"causes":[{"reason":"ExitCode","message":"x"}]}}', "lost", 255),
        (b'{"status":"Failure","details":{"causes":[7,{"reason":"ExitCode","message":"9"}]}}', "ended", 9),
        (b'{"status":"Success"}', "ended", 0),
    ],
)
def test_statuses(payload: bytes, kind: str, code: int) -> None:
    outcome = outcome_of(payload)
    assert (outcome.kind, outcome.exit_code) == (kind, code)
