"""Apps that do not come up, and what their people are told."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from controller.domain.spec import Failure, Probe, ProcessSpec
from controller.engine.port import NotSupportedError
from shared.testing.wait import eventually
from support import local_apps as apps
from support.local_engine import APP, Bench, running_bench


async def failure_of(bench: Bench, spec: ProcessSpec) -> Failure:
    await bench.apply(spec)
    state = await bench.failed(spec.ptype)
    assert state.failure is not None
    assert state.fingerprint == spec.fingerprint
    assert not state.settled
    return state.failure


async def test_a_crash_shows_its_last_lines(bench: Bench) -> None:
    failure = await failure_of(bench, bench.process(apps.CRASH))
    assert failure.code == "process-crashed"
    assert failure.message == "the web process ended with exit code 3 before it was ready"
    assert failure.log == ("about to fail", "Traceback: no such table")
    assert "exit code 3" in await bench.log()


async def test_an_exit_without_error(bench: Bench) -> None:
    failure = await failure_of(bench, bench.process(apps.EXIT_ZERO, "worker"))
    assert failure.code == "process-exited"
    assert failure.ptype == "worker"
    assert "foreground" in failure.hint


@pytest.mark.parametrize(
    "command", [{"shell": "no-such-program --flag"}, {"shell": None, "command": ("no-such-program",), "args": ("x",)}]
)
async def test_a_command_that_is_not_there(bench: Bench, command: dict[str, Any]) -> None:
    failure = await failure_of(bench, bench.process(apps.GOOD, **command))
    assert failure.code == "command-not-found"
    assert "no-such-program" in failure.message


async def test_a_script_that_is_not_executable(bench: Bench) -> None:
    failure = await failure_of(bench, bench.process(apps.GOOD, shell="./app.py"))
    assert failure.code == "command-not-found"
    assert "chmod" in failure.hint


async def test_a_workspace_that_is_gone(bench: Bench) -> None:
    spec = replace(bench.process(apps.GOOD), image=f"workspace/{APP}:gone")
    failure = await failure_of(bench, spec)
    assert failure.code == "image-not-found"


@pytest.mark.parametrize("image", ["workspace/../etc:x", "workspace/shop", "workspace/shop:../../x"])
async def test_a_reference_cannot_leave_the_workspaces(bench: Bench, image: str) -> None:
    failure = await failure_of(bench, replace(bench.process(apps.GOOD), image=image))
    assert failure.code == "image-not-found"


async def test_a_process_that_never_listens(tmp_path: Path) -> None:
    async with running_bench(tmp_path, start_deadline=timedelta(seconds=1)) as bench:
        failure = await failure_of(bench, bench.process(apps.WORKER))
        assert failure.code == "never-listened"
        assert failure.log == ("working as v1",)


async def test_a_process_that_listens_elsewhere(tmp_path: Path, free: int) -> None:
    async with running_bench(tmp_path, start_deadline=timedelta(seconds=2)) as bench:
        spec = bench.process(apps.WRONG_PORT, env={"WRONG": str(free)})
        failure = await failure_of(bench, spec)
        assert failure.code == "wrong-port"
        assert f"listens on {free}, expected $PORT (" in failure.message


async def test_it_can_be_asked_why_before_its_deadline(bench: Bench, free: int) -> None:
    silent = bench.process(apps.WORKER)
    await bench.apply(silent)
    await eventually(lambda: _explained(bench, "web", "never-listened", log=("working as v1",)))
    assert (await bench.state()).failure is None
    await bench.apply(bench.process(apps.WRONG_PORT, env={"WRONG": str(free)}))
    await eventually(lambda: _explained(bench, "web", "wrong-port"))
    good = bench.process(apps.GOOD)
    await bench.apply(good)
    await bench.settled(good)
    assert await bench.engine.explain(APP, "web") is None
    assert await bench.engine.explain(APP, "none") is None
    assert await bench.engine.explain("none", "web") is None


async def test_one_that_keeps_ending_says_how_it_ended(bench: Bench) -> None:
    await bench.apply(bench.process("import sys; sys.exit(3)"))
    await eventually(lambda: _explained(bench, "web", "process-crashed"))


async def _explained(bench: Bench, ptype: str, code: str, *, log: tuple[str, ...] | None = None) -> bool:
    found = await bench.engine.explain(APP, ptype)
    assert found is not None
    assert found.code == code
    return log in (None, found.log)


async def test_a_readiness_check_that_is_refused(tmp_path: Path) -> None:
    async with running_bench(tmp_path, start_deadline=timedelta(seconds=1)) as bench:
        probe = Probe("http", 5000, "/health", period=timedelta(milliseconds=200), failure_threshold=1)
        spec = bench.process(apps.GOOD, readiness=probe, env={"HEALTH": "503 Busy"})
        failure = await failure_of(bench, spec)
        assert failure.code == "readiness-refused"
        assert "GET /health answered 503" in failure.message


async def test_a_readiness_command_that_never_succeeds(tmp_path: Path) -> None:
    async with running_bench(tmp_path, start_deadline=timedelta(seconds=1)) as bench:
        probe = Probe("exec", command=("false",), period=timedelta(milliseconds=100), failure_threshold=1)
        failure = await failure_of(bench, bench.process(apps.WORKER, "worker", readiness=probe))
        assert failure.code == "deadline-exceeded"
        assert "`false` ended with 1" in failure.message


async def test_too_little_memory(bench: Bench) -> None:
    spec = bench.process(apps.MEMORY_HOG, "web", memory_bytes=64 * 1024 * 1024)
    failure = await failure_of(bench, spec)
    assert failure.code == "out-of-memory"
    assert "64 MiB" in failure.message


async def test_too_little_memory_without_control_groups(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.engine.local.limits.open_tree", lambda mark: None)
    await bench.engine._machine.limits.close()
    await bench.engine._machine.limits.start()
    spec = bench.process(apps.MEMORY_HOG, "web", memory_bytes=64 * 1024 * 1024)
    failure = await failure_of(bench, spec)
    assert failure.code == "out-of-memory"


async def test_an_image_without_a_container_tool_that_works(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A client whose daemon does not run, as `docker info` tells.
    client = tmp_path / "bin" / "docker"
    client.parent.mkdir()
    client.write_text("#!/bin/sh\nexit 1\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", str(client.parent))
    image = bench.workspace("boxed", "", stack="container", image="localhost/workflow/shop:boxed")
    failure = await failure_of(bench, replace(bench.process(apps.GOOD), image=image))
    assert failure.code == "container-tool-missing"


async def test_an_image_is_refused_where_no_tool_is_installed(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(NotSupportedError, match="docker, podman or buildah"):
        await bench.apply(replace(bench.process(apps.GOOD), image="docker.io/library/nginx"))


async def test_a_repaired_app_loses_its_failure(bench: Bench) -> None:
    spec = bench.process(apps.CRASH)
    await failure_of(bench, spec)
    _, app, build = spec.image.replace(":", "/").split("/")
    (bench.config.workspaces / app / build / "source" / "app.py").write_text(apps.GOOD)
    # The next try comes by itself.
    await eventually(lambda: _settled(bench))
    assert (await bench.state()).failure is None


async def _settled(bench: Bench) -> bool:
    return (await bench.state()).settled


async def test_the_early_hint_about_a_wrong_port(bench: Bench, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr("controller.engine.local.attempt._HINT_SECONDS", 0.5)
    await bench.apply(bench.process(apps.WRONG_PORT, env={"WRONG": str(free)}))

    async def told() -> bool:
        return f"listens on {free}" in await bench.log()

    await eventually(told)
    assert (await bench.state()).failure is None


async def test_a_failed_type_keeps_trying_slowly(bench: Bench) -> None:
    await failure_of(bench, bench.process(apps.CRASH))

    async def tried_again() -> bool:
        return (await bench.engine.observe(APP)).instances[0].restarts > 3

    await eventually(tried_again)
    await asyncio.sleep(0)
    assert (await bench.state()).failure is not None
