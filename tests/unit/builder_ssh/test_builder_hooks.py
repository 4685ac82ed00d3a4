"""The hook's socket: tokens, framing, dead ends."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest_asyncio

from builder.git.hooks import MAX_REQUEST_BYTES, HookRequest, HookServer, HookWriter


class Answers:
    """A handler that tests steer."""

    def __init__(self) -> None:
        self.status = 0
        self.is_cancelled = asyncio.Event()
        self.waits = False
        self.seen: list[tuple[str, HookRequest]] = []

    async def __call__(self, push: str, request: HookRequest, hook: HookWriter) -> int:
        self.seen.append((push, request))
        await hook.write(b"half a line")
        try:
            if self.waits:
                await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled.set()
            raise
        return self.status


@pytest_asyncio.fixture
async def answers() -> Answers:
    return Answers()


@pytest_asyncio.fixture
async def server(answers: Answers) -> AsyncIterator[HookServer[str]]:
    with tempfile.TemporaryDirectory(prefix="h-") as path:
        made: HookServer[str] = HookServer(
            socket=Path(path) / "s.sock", hooks_dir=Path(path) / "hooks", handler=answers
        )
        await made.start()
        yield made
        await made.close()


async def run_hook(server: HookServer[str], token: str, stdin: str = "a b c\n") -> tuple[int, str]:
    """Run the installed script as git does."""
    process = await asyncio.create_subprocess_exec(
        str(server.hooks_dir / "pre-receive"),
        env={"BUILDER_SOCKET": str(server.socket), "BUILDER_TOKEN": token, "GIT_PUSH_OPTION_COUNT": "1",
             "GIT_PUSH_OPTION_0": "stack=container"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_the_status_and_all_output_arrive(server: HookServer[str], answers: Answers) -> None:
    answers.status = 3
    with server.expect("push") as token:
        assert await run_hook(server, token) == (3, "half a line\n")
    push, request = answers.seen[0]
    assert push == "push"
    assert request.options == {"stack": "container"}
    assert [(ref.old, ref.new, ref.ref) for ref in request.refs] == [("a", "b", "c")]


async def test_a_token_is_good_once_and_only_while_its_push_runs(server: HookServer[str], answers: Answers) -> None:
    with server.expect("push") as token:
        await run_hook(server, token)
        assert (await run_hook(server, token))[0] == 1
    with server.expect("push") as late:
        pass
    for wrong in (late, "", "x"):
        status, output = await run_hook(server, wrong)
        assert (status, "does not know this push" in output) == (1, True)
    assert len(answers.seen) == 1


async def test_nonsense_is_refused(server: HookServer[str]) -> None:
    with server.expect("push") as token:
        for request in (b"x\n\n", b"\n\n", b"ref a b c\n\n", f"token {token}\nref a\n\n".encode()):
            reader, writer = await asyncio.open_unix_connection(server.socket)
            writer.write(request)
            assert (await reader.read()).endswith(b"\x001\n")
            writer.close()


async def test_more_refs_than_a_push_may_have_are_refused_with_a_reason(
    server: HookServer[str], answers: Answers
) -> None:
    line = f"{'0' * 40} {'a' * 40} refs/tags/{'x' * 80}-"
    refs = "".join(f"{line}{number}\n" for number in range(MAX_REQUEST_BYTES // len(line)))
    with server.expect("push") as token:
        status, output = await run_hook(server, token, refs)
    assert status == 1
    assert "more than 16 MiB in one push; push the deploy branch alone" in output
    assert answers.seen == []


async def test_a_hook_that_dies_cancels_its_handler(server: HookServer[str], answers: Answers) -> None:
    answers.waits = True
    with server.expect("push") as token:
        reader, writer = await asyncio.open_unix_connection(server.socket)
        writer.write(f"token {token}\n\n".encode())
        await reader.readexactly(4)
        writer.close()
        async with asyncio.timeout(10):
            await answers.is_cancelled.wait()


async def test_without_a_builder_the_hook_declines(server: HookServer[str]) -> None:
    await server.close()

    status, output = await run_hook(server, "x")

    assert status == 1
    assert "The builder went away" in output
