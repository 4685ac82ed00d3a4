"""A Dockerfile app on a machine with buildah alone: the real runner builds it, the real engine runs it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from builder.runner.local import LocalRunnerConfig
from shared.containers import ToolFinder
from support.build_workbench import Workbench
from support.local_engine import APP, HOST, Bench, TestEdge
from support.tools import require_tool, unavailable

DOCKERFILE = """\
FROM scratch
COPY --chmod=755 busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /srv && echo built > /srv/index.html
ENV PORT=1
WORKDIR /srv
CMD ["/bin/sh", "-c", "exec httpd -f -p 127.0.0.1:$PORT -h ."]
"""


@pytest_asyncio.fixture
async def buildah(tmp_path: Path, container_storage: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only container tool on the PATH, with a storage of the test's own."""
    path = require_tool("buildah")
    programs = tmp_path / "programs"
    programs.mkdir()
    for program in (path, require_tool("git"), require_tool("busybox")):
        (programs / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", f"{programs}:/usr/sbin:/sbin")
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(container_storage))
    if await ToolFinder(lambda: os.environ).path_of("buildah") is None:
        unavailable("buildah cannot run a container here")
    return path


async def test_a_dockerfile_app_with_buildah_alone(buildah: Path, tmp_path: Path, edged: Bench, edge: TestEdge) -> None:
    busybox = require_tool("busybox").read_bytes()
    config = LocalRunnerConfig(workspaces=edged.config.workspaces, caches=tmp_path / "caches")
    work = Workbench(tmp_path, config, app=APP)
    result = await work.push({"Dockerfile": DOCKERFILE, "busybox": busybox})
    assert "Dockerfile app detected (building with buildah)" in work.log.headings
    # No Procfile: the image itself says what to run.
    spec = edged.process("", image=result.image, stack=result.stack, shell=None)
    await edged.apply(spec)
    await edged.settled(spec, timeout=60)
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(edge.url, headers={"Host": HOST})).text == "built\n"
    await edged.engine.remove(APP)
    assert edged.processes() == []
    assert _lines(buildah, "containers", "--all", "--quiet") == []
    await work.runner.discard(APP, None)
    assert _lines(buildah, "images", "--quiet") == []


def _lines(buildah: Path, *arguments: str) -> list[str]:
    done = subprocess.run([buildah, *arguments], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.split()
