"""Commands in real containers."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.exec import PodExecSession, open_exec
from shared.errors import NotFoundError
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.cluster_pods import app_with_rights, speaker
from support.cluster_rights import Rights
from support.kubectl import Kubectl

IMAGES = {"busybox": "busybox:1", "debian": "debian:bookworm-slim"}


class Shell:
    """Runs commands in the pods of one app."""

    def __init__(self, client: Client, kubectl: Kubectl, app: str) -> None:
        self.client = client
        self.kubectl = kubectl
        self.app = app

    async def open(self, pod: str, *command: str, tty: bool = False, stdin: bool = False) -> PodExecSession:
        container = f"{self.app}-web"
        return await open_exec(self.client, self.app, pod, container, command=command, tty=tty, stdin=stdin)

    async def run(self, pod: str, *command: str) -> tuple[bytes, bytes, int]:
        return await finished(await self.open(pod, *command))

    async def start(self, name: str, image: str, *, grace: int = 0, wait: bool = True) -> None:
        await asyncio.to_thread(
            self.kubectl.apply, [speaker(self.app, name, "exec sleep 1000", image=image, grace=grace)]
        )
        if wait:
            target = f"pod/{name}"
            await asyncio.to_thread(
                self.kubectl, "wait", "-n", self.app, "--for=condition=Ready", "--timeout=50s", target
            )


@pytest_asyncio.fixture
async def shell(
    kubeconfig: Path, kubectl: Kubectl, rights: Rights, make_app: Callable[[], str]
) -> AsyncIterator[Shell]:
    """An app with a pod `main` of busybox."""
    app = make_app()
    await asyncio.to_thread(app_with_rights, kubectl, rights, app)
    client = Client(Kubeconfig(kubeconfig))
    await client.open()
    running = Shell(client, kubectl, app)
    await running.start("main", IMAGES["busybox"])
    try:
        yield running
    finally:
        await client.close()


async def finished(session: PodExecSession) -> tuple[bytes, bytes, int]:
    out = {1: bytearray(), 2: bytearray()}
    async with asyncio.timeout(60):
        while (piece := await session.read()) is not None:
            out[piece[0]] += piece[1]
        code = await session.wait()
    await session.close()
    return bytes(out[1]), bytes(out[2]), code


async def until(session: PodExecSession, text: bytes) -> bytes:
    """Read until that has come."""
    got = b""
    async with asyncio.timeout(20):
        while text not in got:
            piece = await session.read()
            assert piece is not None, got
            got += piece[1]
    return got


@pytest.mark.parametrize("image", IMAGES)
async def test_output_and_exit_codes(shell: Shell, image: str) -> None:
    pod = f"one-{image}"
    await shell.start(pod, IMAGES[image])
    assert await shell.run(pod, "echo", "a b", "$HOME") == (b"a b $HOME\n", b"", 0)
    assert await shell.run(pod, "sh", "-c", "echo out; echo err >&2; exit 3") == (b"out\n", b"err\n", 3)
    assert (await shell.run(pod, "sh", "-c", "kill -9 $$"))[2] == 137
    out, err, code = await shell.run(pod, "no-such-program")
    assert (out, code) == (b"", 127)
    assert re.search(rb"no-such-program.*not found", err)
    await shell.run(pod, "sh", "-c", "echo x > /plain")
    out, err, code = await shell.run(pod, "/plain")
    assert (out, code) == (b"", 126)
    assert b"denied" in err


async def test_five_megabytes_go_through_a_pipe_byte_for_byte(shell: Shell) -> None:
    data = os.urandom(5 * 1024 * 1024)
    session = await shell.open("main", "cat", stdin=True)

    async def send() -> None:
        await session.write(data)
        await session.write(b"")

    sending = asyncio.create_task(send())
    out, err, code = await finished(session)
    await sending
    assert (out == data, err, code) == (True, b"", 0)


async def test_much_output_waits_for_its_reader(shell: Shell) -> None:
    session = await shell.open("main", "sh", "-c", "head -c 30000000 /dev/zero; echo end >&2; exit 4")
    await asyncio.sleep(1)
    out, err, code = await finished(session)
    assert (len(out), err, code) == (30_000_000, b"end\n", 4)


async def test_a_terminal_with_a_size(shell: Shell) -> None:
    await shell.start("deb", IMAGES["debian"])
    session = await shell.open("deb", "bash", "--norc", tty=True, stdin=True)
    await session.resize(height=40, width=132)
    await session.write(b"tty; stty size; echo $((6 * 7))\n")
    text = await until(session, b"\r\n42\r\n")
    assert b"/dev/pts/" in text
    assert b"40 132\r\n" in text
    await session.resize(height=25, width=80)
    await session.write(b"sleep 100\n")
    await asyncio.sleep(0.5)
    await session.write(b"\x03stty size\n")
    await until(session, b"25 80\r\n")
    await session.write(b"exit 7\n")
    assert (await finished(session))[2] == 7


async def test_the_end_of_input_on_a_terminal(shell: Shell) -> None:
    session = await shell.open("main", "sh", tty=True, stdin=True)
    await until(session, b"# ")  # a shell that sets its terminal up forgets what was typed before
    await session.write(b"")
    assert (await finished(session))[2] == 0


@pytest.mark.parametrize("tty", [False, True])
@pytest.mark.parametrize("image", IMAGES)
async def test_weakness_44_closing_ends_the_command(shell: Shell, image: str, tty: bool) -> None:
    await shell.start("two", IMAGES[image])
    session = await shell.open("two", "sh", "-c", "sleep 4321 & echo ready; trap '' HUP TERM; wait; wait", tty=tty)
    await until(session, b"ready")
    stubborn = await shell.open("two", "sh", "-c", "trap '' HUP TERM; echo ready; sleep 4322; sleep 4322", tty=tty)
    await until(stubborn, b"ready")

    async def commands() -> bytes:
        script = "for d in /proc/[0-9]*; do tr '\\0' ' ' < $d/cmdline; echo; done"
        return (await shell.run("two", "sh", "-c", script))[0]

    assert b"sleep 4321" in await commands()
    await asyncio.gather(session.close(), stubborn.close())

    async def are_gone() -> bool:
        return b"sleep 432" not in (await commands()).replace(b"sleep 4321 &", b"")

    await eventually(are_gone, timeout=10)


async def test_an_image_without_a_shell(shell: Shell) -> None:
    await shell.start("bare", IMAGES["busybox"])
    await shell.run("bare", "busybox", "rm", "/bin/sh")
    assert await shell.run("bare", "busybox", "echo", "hi") == (b"hi\n", b"", 0)
    out, err, code = await shell.run("bare", "no-such-program")
    assert (out, code) == (b"", 127)
    assert err == b'"no-such-program": executable file not found in $PATH\n'


async def test_what_does_not_run_is_not_found(shell: Shell) -> None:
    await shell.start("absent", "no-such-image:1", wait=False)
    await asyncio.to_thread(shell.kubectl.apply, [speaker(shell.app, "ended", "true", restartPolicy="Never")])
    path = "jsonpath={.status.phase}"
    await asyncio.to_thread(
        shell.kubectl, "wait", "-n", shell.app, f"--for={path}=Succeeded", "--timeout=40s", "pod/ended"
    )
    for pod in ("unknown", "absent", "ended"):
        with pytest.raises(NotFoundError, match=f"{pod} does not run; see `drycc ps` for what does"):
            await shell.open(pod, "true")
    with pytest.raises(NotFoundError):
        await open_exec(shell.client, shell.app, "main", "other", command=["true"], tty=False, stdin=False)


async def test_a_pod_that_is_killed_ends_its_commands(shell: Shell) -> None:
    await shell.start("victim", IMAGES["busybox"])
    session = await shell.open("victim", "sh", "-c", "echo ready; sleep 1000; echo never")
    await until(session, b"ready")
    await asyncio.to_thread(shell.kubectl, "delete", "pod", "victim", "-n", shell.app, "--now", "--wait=false")
    out, _, code = await finished(session)
    assert b"never" not in out
    assert code in (137, 143, 255)
