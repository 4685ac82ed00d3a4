"""What ends a build early, and that nothing of it is left: processes, directories, caches, secrets."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from builder.runner.port import BuildFailedError, BuildLimits
from shared.testing.wait import eventually
from support.build_workbench import MIB, Workbench
from support.builds import MARK, PLATFORM_SECRET, project
from support.tools import require_root, require_tool, unavailable

# Leaves one process in its group and one in a session of its own, both deaf to SIGTERM, then goes on waiting.
HANGS = """\
import os, pathlib, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
wait = [sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"]
subprocess.Popen(wait)
subprocess.Popen(wait, start_new_session=True)
pathlib.Path(os.environ["MARKER"]).write_text("started")
"""
WAITS = "time.sleep(600)\n"


async def test_a_build_that_takes_too_long_is_stopped(bench: Workbench, tmp_path: Path) -> None:
    bench.variables["MARKER"] = str(tmp_path / "marker")
    bench.limits = BuildLimits(timedelta(seconds=4), 500 * MIB)
    with pytest.raises(BuildFailedError) as caught:
        await bench.push(project(HANGS + WAITS))
    assert caught.value.code == "build-timeout"
    assert caught.value.message == "the build took longer than 4 seconds and was stopped"
    assert bench.leftovers() == []


async def test_a_cancelled_build_leaves_nothing(bench: Workbench, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    bench.variables["MARKER"] = str(marker)
    build = asyncio.create_task(bench.push(project(HANGS + WAITS)))
    await eventually(marker.exists, timeout=60)
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert bench.leftovers() == []


async def test_processes_left_in_the_background_end_with_the_build(bench: Workbench, tmp_path: Path) -> None:
    bench.variables["MARKER"] = str(tmp_path / "marker")
    # pip waits for all that hold its own pipe, so these have none.
    await bench.push(project(HANGS.replace("(wait", "(wait, stdout=-3, stderr=-3")))
    assert (tmp_path / "marker").exists()
    assert bench.leftovers() == []


async def test_output_held_open_in_the_background_does_not_hold_the_build(bench: Workbench) -> None:
    require_tool("node")
    require_tool("npm")
    build = "trap '' TERM; sleep 600 & setsid sleep 600 & echo built"
    files = {"package.json": json.dumps({"scripts": {"build": build}}), "Procfile": "web: node x.js"}
    await bench.push(files)
    assert "     built\n" in bench.log.text
    assert bench.leftovers() == []


async def test_a_build_that_writes_too_much_is_stopped(bench: Workbench) -> None:
    bench.limits = BuildLimits(timedelta(seconds=100), 20 * MIB)
    step = "import tempfile, time\nf = tempfile.NamedTemporaryFile()\nf.write(bytes(40 << 20))\nf.flush()\n"
    with pytest.raises(BuildFailedError) as caught:
        await bench.push(project(step + WAITS))
    assert caught.value.code == "disk-limit"
    assert caught.value.message.endswith("it may write 20 MiB")
    assert bench.leftovers() == []


async def test_a_source_that_is_too_large_is_refused(bench: Workbench) -> None:
    bench.limits = BuildLimits(timedelta(seconds=100), 1 * MIB)
    with pytest.raises(BuildFailedError) as caught:
        await bench.push({"Procfile": "web: a", "large": bytes(2 * MIB)})
    assert caught.value.code == "disk-limit"
    assert bench.leftovers() == []


@pytest.fixture
def small_disk(bench: Workbench) -> Iterator[None]:
    """A file system of 8 MiB for the workspaces."""
    require_root()
    mount, umount = require_tool("mount"), require_tool("umount")
    target = bench.config.workspaces
    target.mkdir(parents=True)
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", target], capture_output=True, check=False)
    if done.returncode != 0:
        unavailable("file systems cannot be mounted here")
    try:
        yield
    finally:
        subprocess.run([umount, "--lazy", target], check=True)


async def test_a_full_disk_is_explained(bench: Workbench, small_disk: None) -> None:
    with pytest.raises(BuildFailedError) as caught:
        await bench.push({"Procfile": "web: a", "large": bytes(12 * MIB)})
    assert caught.value.code == "disk-full"
    assert caught.value.hint
    assert bench.leftovers() == []


async def test_a_step_on_a_full_disk_is_explained(bench: Workbench, small_disk: None) -> None:
    step = "import tempfile\nf = tempfile.NamedTemporaryFile()\nf.write(bytes(12 << 20))\nf.flush()\n"
    with pytest.raises(BuildFailedError) as caught:
        await bench.push(project(step))
    assert caught.value.code == "disk-full"
    assert any("No space left on device" in line for line in caught.value.log)
    assert bench.leftovers() == []


async def test_builds_see_the_apps_variables_and_no_secret_of_the_platform(bench: Workbench, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    bench.variables |= {"MARKER": str(marker), "API_KEY": "hunter2-of-the-app", "PATH": "/evil", "HOME": "/root"}
    step = "import json, os\nopen(os.environ['MARKER'], 'w').write(json.dumps(dict(os.environ)))\nprint(1)\n"
    await bench.push(project(step))
    seen = json.loads(marker.read_text())
    assert seen["API_KEY"] == "hunter2-of-the-app"
    assert seen["WORKFLOW_HOME_ID"] == MARK
    assert seen["WORKFLOW_BUILD_ID"] == str(bench.build_ids[-1])
    assert (seen["DRYCC_APP"], len(seen["SOURCE_VERSION"])) == ("shop", 40)
    assert "/evil" not in seen["PATH"]
    assert seen["HOME"].startswith(str(bench.config.workspaces))
    assert PLATFORM_SECRET not in seen.values()
    assert "hunter2" not in bench.log.text
    written = [path for path in bench.config.workspaces.rglob("*") if path.is_file()]
    assert not [path for path in written if b"hunter2" in path.read_bytes()]


async def test_no_value_is_on_a_command_line(bench: Workbench, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    bench.variables |= {"MARKER": str(marker), "API_KEY": "hunter2-of-the-app"}
    build = asyncio.create_task(bench.push(project(HANGS + WAITS)))
    await eventually(marker.exists, timeout=60)
    lines = [line for process in psutil.process_iter(["cmdline"]) for line in process.info["cmdline"] or ()]
    build.cancel()
    with pytest.raises(asyncio.CancelledError):
        await build
    assert not [line for line in lines if "hunter2" in line]


async def test_what_a_crash_left_is_removed_at_start(bench: Workbench) -> None:
    await bench.push({"Procfile": "web: python -V", "requirements.txt": ""})
    partial = bench.workspaces / ".partial-0190"
    broken = bench.caches / "venv-0123456789abcdef"
    for path in (partial / "source", broken / "bin"):
        path.mkdir(parents=True)
    partial.chmod(0o500)
    bench.restart()
    await bench.runner.start()
    assert not partial.exists()
    assert not broken.exists()
    assert bench.workspace.exists()
    assert len(bench.cached("venv")) == 1
