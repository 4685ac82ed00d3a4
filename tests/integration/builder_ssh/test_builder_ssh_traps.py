"""What went wrong in prototypes and in the system before this one: builder.md 20.5 (traps) and 18 (weaknesses)."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import psutil
import pytest
from asyncssh.constants import MSG_GLOBAL_REQUEST
from asyncssh.packet import Boolean, String

from integration.builder_ssh.world import World, commit, git_environment, run
from support import eventually
from support.logs import captured_log

MIB = 1024 * 1024
_READERS = {"index-pack", "unpack-objects"}


@asynccontextmanager
async def connected(world: World, key: Path) -> AsyncIterator[asyncssh.SSHClientConnection]:
    """A client that may ask for what OpenSSH's cannot."""
    async with asyncssh.connect(
        "127.0.0.1", world.context.ssh.port, client_keys=[str(key)], known_hosts=None, username="git", config=None
    ) as client:
        yield client


async def test_trap_02_a_git_that_does_not_read_makes_no_memory_grow(world: World, ana: Path, source: Path) -> None:
    await run("git", "-C", str(source), "config", "core.compression", "0")
    await commit(source, {"big.bin": os.urandom(80 * MIB)})
    before = psutil.Process().memory_info().rss
    most = 0
    client = await world.start_push(ana, source, "shop")
    await eventually(lambda: _receiving(world), timeout=60)
    stopped = _receiving(world)
    for process in stopped:
        process.suspend()
    sent = -1
    while (now := psutil.Process(client.pid).children(recursive=True)[0].io_counters().write_chars) != sent:
        sent = now
        await asyncio.sleep(0.3)  # until the client is not let send any more
        most = max(most, psutil.Process().memory_info().rss)
    for process in stopped:
        process.resume()
    output, _ = await client.communicate()

    assert client.returncode == 0, output
    assert most - before < 30 * MIB


async def test_trap_03_the_end_of_input_is_not_a_hang_up(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)
    (connection,) = world.context.ssh._connections
    (session,) = connection._sessions
    await eventually(lambda: session.input._finished)  # git's client has said that nothing more comes
    assert not session.gone.is_set()
    assert any("receive-pack" in process.cmdline() for process in world.processes())
    world.runner.may_end.set()

    assert (await pushing).status == 0


@pytest.mark.parametrize("service", ["git-upload-pack", "git-receive-pack"])
async def test_trap_06_input_that_ends_before_git_runs_is_not_lost(world: World, ana: Path, service: str) -> None:
    async with asyncio.timeout(20):
        outcome = await world.ssh(ana, f"{service} '/shop.git'")  # its standard input is closed from the start
    assert outcome.status in (0, 128)

    async with connected(world, ana) as client, asyncio.timeout(20):
        channel, session = await client.create_session(
            _Collector, "git-upload-pack '/shop.git'", encoding=None, env={"GIT_PROTOCOL": "version=2"}
        )
        channel.write(b"0014command=ls-refs\n0000" + b"0000")
        channel.write_eof()
        await channel.wait_closed()
    assert isinstance(session, _Collector)
    assert b"version 2" in session.output


async def test_trap_10_of_a_flood_of_variables_only_gits_own_is_kept(world: World, ana: Path, source: Path) -> None:
    await world.push(ana, source, "shop")
    flood: dict[bytes | str, bytes | str] = {f"NAME_{number}": "x" * 10_000 for number in range(500)}
    async with connected(world, ana) as client:
        ran = await client.run(
            "git-upload-pack '/shop.git'", env={**flood, "GIT_PROTOCOL": "version=2"}, input=b"0000", encoding=None
        )
        assert isinstance(ran.stdout, bytes)
        assert b"version 2" in ran.stdout
        flood["GIT_PROTOCOL"] = "x" * 10_000
        channel, _ = await client.create_session(_Collector, "git-upload-pack '/shop.git'", env=flood, encoding=None)
        (connection,) = world.context.ssh._connections
        (session,) = [session for session in connection._sessions if not session.gone.is_set()]
        kept = session._channel.get_environment_bytes()
        channel.close()

    assert kept == {}


async def test_weakness_05_what_is_refused_disturbs_nobody(world: World, ana: Path, source: Path) -> None:
    world.runner.may_end.clear()
    pushing = asyncio.create_task(world.push(ana, source, "shop"))
    await eventually(lambda: world.runner.running)
    port = world.context.ssh.port

    async with connected(world, ana) as client:
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_connection("127.0.0.1", port)
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_unix_connection("/run/x.sock")
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.start_sftp_client()
        with pytest.raises(asyncssh.ChannelListenError):
            await client.forward_remote_port("", 0, "127.0.0.1", port)
        with pytest.raises(asyncssh.ChannelListenError):
            await client.forward_remote_path("/tmp/x.sock", "127.0.0.1")
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.run("ping", term_type="xterm")
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.run(subsystem="netconf")
        with pytest.raises(asyncssh.ChannelOpenError):
            await client.open_tun()
        assert (await client.run("ping")).stdout == "pong\n"
    for wrong in (["-A"], ["-X"], ["-Y"], ["-D", "0"], ["-R", "0:127.0.0.1:22"], ["-W", "127.0.0.1:22"]):
        command = [*world.ssh_command(ana), *wrong, "-p", str(port), "git@127.0.0.1"]
        await run(*command, *([] if wrong[0] == "-W" else ["ping"]))
    world.runner.may_end.set()

    assert (await pushing).status == 0
    assert (await world.ssh(ana, "ping")).status == 0


async def test_weakness_05_port_probes_and_nonsense_disturb_nobody_and_are_not_logged(world: World, ana: Path) -> None:
    with captured_log("builder", level="WARNING") as logged:
        await _probe(world.context.ssh.port)
        assert (await world.ssh(ana, "ping")).status == 0
        await eventually(lambda: not world.context.ssh._connections)

    assert logged.getvalue() == ""


async def _probe(port: int) -> None:
    for nonsense in (b"", b"GET / HTTP/1.1\r\n\r\n", b"SSH-2.0-x\r\n" + os.urandom(4000), b"SSH-2.0-" + b"x" * 9000):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(nonsense)
        writer.close()
    for lingers in (0, 1):
        for _ in range(10):  # as the port probes of a balancer: connect, and close or reset
            with socket.create_connection(("127.0.0.1", port)) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", lingers, 0))
                await asyncio.sleep(0)


async def test_weakness_05_one_connection_has_a_bounded_number_of_sessions(
    world: World, ana: Path, source: Path
) -> None:
    await world.push(ana, source, "shop")
    async with connected(world, ana) as client:
        open_ones = [
            (await client.create_session(_Collector, "git-upload-pack '/shop.git'", encoding=None))[0]
            for _ in range(10)
        ]
        with pytest.raises(asyncssh.ChannelOpenError, match="no more than 10 sessions"):
            await client.run("ping")
        for channel in open_ones:
            channel.close()
            await channel.wait_closed()

        async def answers() -> bool:
            try:
                return (await client.run("ping")).stdout == "pong\n"
            except asyncssh.ChannelOpenError:
                return False

        await eventually(answers)


async def test_weakness_05_answers_that_nobody_reads_make_no_memory_grow(world: World, ana: Path) -> None:
    question = String(b"anything") + Boolean(True)
    async with connected(world, ana) as client:
        assert client._transport is not None
        (connection,) = world.context.ssh._connections
        answers = connection._connection._transport
        client._transport.pause_reading()
        most = 0
        for _ in range(100):
            for _ in range(2000):
                client.send_packet(MSG_GLOBAL_REQUEST, question)
            await asyncio.sleep(0.01)
            most = max(most, answers.get_write_buffer_size())
        assert most < 2 * MIB
        assert (await world.ssh(ana, "ping")).output.strip().endswith("pong")
        client.abort()
    await eventually(lambda: not world.context.ssh._connections)


async def test_weakness_24_who_may_not_push_cannot_hold_the_lock(world: World, ana: Path, source: Path) -> None:
    bo = world.add_user("bo", "bos-app")
    command = [*world.ssh_command(bo), "-p", str(world.context.ssh.port), "git@127.0.0.1"]
    holding = [
        await asyncio.create_subprocess_exec(
            *(*command, "git-receive-pack '/shop.git'"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        for _ in range(3)
    ]
    try:
        for process in holding:
            assert process.stdout is not None
            async with asyncio.timeout(20):
                assert b"ERR shop does not exist, or bo may not push to it" in await process.stdout.read()
        outcome = await world.push(ana, source, "shop")
    finally:
        for process in holding:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    assert outcome.status == 0, outcome.output


async def test_weakness_07_the_most_talkative_log_and_the_pusher_see_no_secret(
    world: World, ana: Path, source: Path
) -> None:
    world.far_side.values = [{"name": "TOKEN", "value": "of-the-app-4711", "group": "global"}]
    with captured_log("builder", level="DEBUG") as logged:
        outcome = await world.push(ana, source, "shop", options=["-o", "note=of-the-push-4711"])
        await world.ssh(ana, "ping", options=["SetEnv=GIT_PROTOCOL=of-the-client-4711"])

    assert outcome.status == 0
    assert "build_requested" in logged.getvalue()
    assert "4711" not in logged.getvalue() + outcome.output
    assert world.settings.client_secret.get_secret_value() not in logged.getvalue()


async def test_weakness_10_objects_that_git_would_not_make_are_refused(world: World, ana: Path, source: Path) -> None:
    environment = git_environment(world.path)
    blob = (await run("git", "-C", str(source), "rev-parse", "HEAD:Procfile", environment=environment)).output.strip()
    (world.path / "tree").write_bytes(
        b"100644 .git\0" + bytes.fromhex(blob) + b"100644 Procfile\0" + bytes.fromhex(blob)
    )
    tree = await run(
        *("git", "-C", str(source), "hash-object", "-w", "-t", "tree", "--literally", str(world.path / "tree")),
        environment=environment,
    )
    made = await run("git", "-C", str(source), "commit-tree", "-m", "x", tree.output.strip(), environment=environment)

    outcome = await world.push(ana, source, "shop", f"{made.output.strip()}:refs/heads/main")

    assert outcome.status != 0
    assert "hasDotgit" in outcome.output
    assert world.events == []


async def test_weakness_11_a_second_push_sends_only_what_is_new(world: World, ana: Path, source: Path) -> None:
    await commit(source, {"big.bin": os.urandom(5 * MIB)})
    await world.push(ana, source, "shop")
    await commit(source, {"small": "x"})

    outcome = await world.push(ana, source, "shop", options=["--progress"])

    assert outcome.status == 0
    assert "Total 3 " in outcome.output


class _Collector(asyncssh.SSHClientSession[bytes]):
    def __init__(self) -> None:
        self.output = b""

    def data_received(self, data: bytes, _datatype: int | None) -> None:
        self.output += data


def _receiving(world: World) -> list[psutil.Process]:
    """git's processes, once the one that reads the pack is there."""
    found = world.processes()
    return found if any(_READERS & set(process.cmdline()) for process in found) else []
