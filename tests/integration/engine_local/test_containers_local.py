"""Apps that are container images, with a real container tool."""

from __future__ import annotations

import asyncio
import io
import os
import shutil
import tarfile
import uuid
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio

from controller.domain.spec import JobSpec, ProcessSpec
from controller.engine.local import LocalEngine
from shared.containers import CHROOT, ToolFinder
from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, HOST, Bench, TestEdge
from support.tools import require_tool, unavailable

SERVER = 'echo "$NAME" > /tmp/index.html; exec httpd -f -p "127.0.0.1:$PORT" -h /tmp'


async def call(*command: str, stdin: bytes = b"") -> tuple[int, str]:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=asyncio.subprocess.STDOUT)
    output, _ = await process.communicate(stdin)
    return process.returncode or 0, output.decode()


@dataclass(frozen=True)
class Tool:
    """A tool that builds and runs here, with a storage of the test's own."""

    name: str
    path: str

    async def call(self, *arguments: str, stdin: bytes = b"") -> tuple[int, str]:
        return await call(self.path, *arguments, stdin=stdin)

    async def containers(self) -> str:
        """What is left of containers, in the tool's words: nothing should be."""
        listing = ("containers", "--quiet") if self.name == "buildah" else ("ps", "--all", "--quiet")
        status, output = await self.call(*listing)
        assert status == 0, output
        return output.strip()


@pytest_asyncio.fixture(params=["podman", "buildah"])
async def tool(
    request: pytest.FixtureRequest, tmp_path: Path, container_storage: Path, monkeypatch: pytest.MonkeyPatch
) -> Tool:
    """Each tool in turn; Podman is told to do with what a restricted machine allows."""
    require_tool(request.param)
    conf = tmp_path / "containers.conf"
    lines = ["[containers]", 'default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]']
    runtime = ["[engine]", 'runtime = "runc"'] if shutil.which("runc") else []
    conf.write_text("\n".join([*lines, *runtime]) + "\n")
    monkeypatch.setenv("CONTAINERS_CONF", str(conf))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(container_storage))
    path = await ToolFinder(lambda: os.environ).path_of(request.param)
    if path is None:
        unavailable(f"{request.param} cannot run a container here")
    return Tool(request.param, path)


@pytest_asyncio.fixture
async def image(tool: Tool, tmp_path: Path) -> str:
    """An image with busybox in it; it goes with the test's storage."""
    busybox = require_tool("busybox")
    context = tmp_path / "context"
    context.mkdir()
    (context / "root.tar").write_bytes(_root_filesystem(busybox))
    (context / "Dockerfile").write_text("FROM scratch\nADD root.tar /\nENV COLOUR=blue NAME=unset\nWORKDIR /tmp\n")
    name = f"localhost/workflow/engine-test:{uuid.uuid4().hex[:8]}"
    isolation = CHROOT if tool.name == "buildah" else ()
    status, output = await tool.call("build", *isolation, "--tag", name, str(context))
    assert status == 0, output
    return name


def _root_filesystem(busybox: Path) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add(busybox, "bin/busybox")
        for name in ("sh", "httpd", "echo", "sleep", "pwd"):
            link = tarfile.TarInfo(f"bin/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(link)
        directory = tarfile.TarInfo("tmp")
        directory.type, directory.mode = tarfile.DIRTYPE, 0o777
        tar.addfile(directory)
    return buffer.getvalue()


def boxed(bench: Bench, tool: Tool, image: str, ptype: str = "web", **changes: Any) -> ProcessSpec:
    """A spec of that image, as the builder's workspace describes it."""
    reference = bench.workspace("boxed", "", stack="container", image=image, tool=tool.name)
    return bench.process(apps.GOOD, ptype, **{"image": reference, "stack": "container"} | changes)


async def test_a_container_serves_and_goes(tool: Tool, image: str, edged: Bench, edge: TestEdge) -> None:
    env = {"NAME": "from the $box", "HOME": "/elsewhere", "MANY": "a\nb"}
    spec = boxed(edged, tool, image, shell=SERVER, env=env, memory_bytes=64 * 1024 * 1024)
    await edged.apply(spec)
    await edged.settled(spec, timeout=60)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(edge.url, headers={"Host": HOST})).text == "from the $box\n"
    name = (await edged.engine.observe(APP)).instances[0].name
    command = ["sh", "-c", 'echo "$HOME $COLOUR $MANY"']
    session = await edged.engine.exec(APP, name, command=command, tty=False, stdin=False)
    assert await session.read() == (1, b"/elsewhere blue a\nb\n")
    await session.close()
    assert edged.processes()
    assert not any("from the $box" in " ".join(process.cmdline()) for process in edged.processes())
    await edged.engine.remove(APP)
    assert edged.processes() == []
    assert await tool.containers() == ""
    assert not list((edged.config.run_dir / "container-env").iterdir())


async def test_a_container_may_end_in_peace(tool: Tool, image: str, bench: Bench) -> None:
    line = "trap 'echo good bye; exit 0' TERM; echo begun; while :; do sleep 0.1; done"
    spec = boxed(bench, tool, image, "worker", shell=line)
    await bench.apply(spec)
    await bench.settled(spec, timeout=60)
    await eventually(lambda: _logged(bench, "begun"))
    name = (await bench.engine.observe(APP)).instances[0].name
    await bench.engine.stop_instance(APP, name)
    await eventually(lambda: _logged(bench, "good bye"))


async def test_a_one_off_in_a_container(tool: Tool, image: str, bench: Bench) -> None:
    process = boxed(bench, tool, image, "run", shell="echo $COLOUR in $(pwd)", must_listen=False)
    job = JobSpec(APP, "shop-run-1", process, timedelta(seconds=60), timedelta(minutes=5))
    await bench.engine.run(job)
    state = await bench.finished(job)
    assert (state.state, state.exit_code) == ("down", 0), state
    assert "blue in /tmp" in state.log
    assert await tool.containers() == ""


async def test_a_crashing_container_explains_itself(tool: Tool, image: str, bench: Bench) -> None:
    await bench.apply(boxed(bench, tool, image, shell="echo no luck; exit 3"))
    state = await bench.failed(timeout=60)
    assert state.failure is not None
    assert state.failure.code == "process-crashed"
    assert "exit code 3" in state.failure.message
    assert "no luck" in state.failure.log


async def test_close_takes_containers_along(tool: Tool, image: str, bench: Bench) -> None:
    await bench.apply(boxed(bench, tool, image, "worker", shell="exec sleep 600"))
    await eventually(lambda: _ready(bench), timeout=60)
    await bench.engine.close()
    assert await tool.containers() == ""


async def test_what_a_killed_platform_left_is_removed_at_the_next_start(tool: Tool, image: str, bench: Bench) -> None:
    await bench.apply(boxed(bench, tool, image, "worker", shell="exec sleep 600"))
    await eventually(lambda: _ready(bench), timeout=60)
    left = set((await tool.containers()).split())
    assert left
    successor = LocalEngine(bench.config)
    await successor.start()
    try:
        # The first engine is alive in this process and may have begun anew; what there was is gone.
        assert not left & set((await tool.containers()).split())
    finally:
        await bench.engine.close()
        await successor.close()


@pytest.mark.parametrize("tool", ["buildah"], indirect=True)
async def test_an_image_that_is_gone(tool: Tool, bench: Bench) -> None:
    await bench.apply(boxed(bench, tool, "localhost/workflow/engine-test:never"))
    state = await bench.failed(timeout=60)
    assert state.failure is not None
    assert state.failure.code == "image-not-found"
    assert await tool.containers() == ""


async def _ready(bench: Bench) -> bool:
    return (await bench.state("worker")).ready == 1


async def _logged(bench: Bench, text: str) -> bool:
    return text in await bench.log()
