"""A workbench for real builds: real git repositories, the real runner, everything below `tmp_path`."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx
import psutil

from builder.git.environment import GitEnvironment
from builder.git.tree import open_commit
from builder.runner.local import LocalRunner, LocalRunnerConfig
from builder.runner.port import AppConfig, BuildLimits, BuildResult, BuildSpec, ConfigValue, Plan
from shared.testing.wait import eventually
from support.builds import Files, ListLog
from support.tools import free_port

MIB = 1024 * 1024


@dataclass
class Workbench:
    """Commits files, checks and builds the commit as the SSH side would; `log` holds what the pusher saw."""

    base: Path
    config: LocalRunnerConfig
    app: str = "shop"
    log: ListLog = field(default_factory=ListLog)
    variables: dict[str, str] = field(default_factory=dict)
    options: dict[str, str] = field(default_factory=dict)
    limits: BuildLimits = field(default_factory=lambda: BuildLimits(timedelta(seconds=100), 500 * MIB))

    def __post_init__(self) -> None:
        self.runner = LocalRunner(self.config)
        self.build_ids: list[UUID] = []
        self._repository = self.base / "repository"
        self._git("init", "--quiet", "--initial-branch=main", str(self._repository), cwd=self.base)

    def restart(self, **changes: object) -> None:
        """A runner with a changed configuration, as after a restart of the platform."""
        self.config = replace(self.config, **changes)  # type: ignore[arg-type]
        self.runner = LocalRunner(self.config)

    def commit(self, files: Files) -> str:
        """Make a commit of exactly these files; a value that is a path becomes a symbolic link."""
        self._git("rm", "-r", "--quiet", "--ignore-unmatch", ".", cwd=self._repository)
        for name, content in files.items():
            path = self._repository / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                path.symlink_to(content)
            else:
                path.write_bytes(content.encode() if isinstance(content, str) else content)
        self._git("add", "--all", "--force", cwd=self._repository)
        self._git("commit", "--quiet", "--allow-empty", "-m", "change", cwd=self._repository)
        return self._git("rev-parse", "HEAD", cwd=self._repository)

    async def check(self, files: Files) -> Plan:
        """The early checks of a commit."""
        sha = self.commit(files)
        async with open_commit(sha, self._git_environment()) as tree:
            return await self.runner.check(tree, self._spec(sha))

    async def push(self, files: Files, *, build_id: UUID | None = None) -> BuildResult:
        """Checks and build of a commit; the log starts anew."""
        sha = self.commit(files)
        spec = self._spec(sha, build_id)
        self.build_ids.append(spec.build_id)
        self.log.lines.clear()
        async with open_commit(sha, self._git_environment()) as tree:
            plan = await self.runner.check(tree, spec)
            return await self.runner.build(tree, spec, plan, self.log)

    @property
    def workspaces(self) -> Path:
        return self.config.workspaces / self.app

    @property
    def caches(self) -> Path:
        return self.config.caches / self.app

    @property
    def workspace(self) -> Path:
        """The workspace of the last push."""
        return self.workspaces / str(self.build_ids[-1])

    def cached(self, kind: str) -> list[str]:
        """Names of the keyed caches of a kind, `venv` or `node`."""
        return sorted(path.name for path in self.caches.glob(f"{kind}-*"))

    def leftovers(self) -> list[str]:
        """What a build that failed must not leave: unfinished workspaces and caches, and processes."""
        partial = [str(path) for path in self.config.workspaces.glob("*/.*")]
        caches = [
            str(path)
            for path in (*self.caches.glob("venv-*"), *self.caches.glob("node-*"))
            if not (path / ".complete").exists()
        ]
        ids = {str(build_id) for build_id in self.build_ids}
        return (
            partial + caches + [f"process {process.pid}" for process in psutil.process_iter() if _mark(process) in ids]
        )

    def _spec(self, sha: str, build_id: UUID | None = None) -> BuildSpec:
        return BuildSpec(
            build_id=build_id or uuid4(),
            app=self.app,
            number=1,
            sha=sha,
            branch="main",
            actor="mina",
            config=AppConfig(tuple(ConfigValue(name, value, group="global") for name, value in self.variables.items())),
            options=self.options,
            limits=self.limits,
        )

    def _git_environment(self) -> Mapping[str, str]:
        plain = GitEnvironment(self.base, self.base / "none.sock", max_push_bytes=MIB).plain()
        return plain | {"GIT_DIR": str(self._repository / ".git")}

    def _git(self, *arguments: str, cwd: Path) -> str:
        identity = {
            f"GIT_{role}_{part}": value
            for role in ("AUTHOR", "COMMITTER")
            for part, value in (("NAME", "Mina"), ("EMAIL", "mina@example.com"))
        }
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.base), "GIT_CONFIG_NOSYSTEM": "1"} | identity
        done = subprocess.run(
            ["git", *arguments], cwd=cwd, env=environment, check=True, capture_output=True, text=True, timeout=60
        )
        return done.stdout.strip()


def _mark(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("WORKFLOW_BUILD_ID")
    except (psutil.Error, OSError):
        return None


def launched(workspace: Path, line: str, **variables: str) -> subprocess.Popen[bytes]:
    """Start a Procfile line as the engine would, by the contract of launch.json (docs/design.md, section 5)."""
    facts = json.loads((workspace / "launch.json").read_text())
    path = os.pathsep.join([*facts["path"], os.environ["PATH"]])
    return subprocess.Popen(
        ["/bin/sh", "-c", line],
        cwd=workspace / facts["workdir"],
        env={"HOME": str(workspace / facts["workdir"]), **facts["env"], **variables, "PATH": path},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )


def output_of(workspace: Path, line: str, **variables: str) -> str:
    """What a Procfile line prints until it ends."""
    output, _ = launched(workspace, line, **variables).communicate(timeout=60)
    return output.decode()


@asynccontextmanager
async def serving(workspace: Path, line: str, **variables: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a web process that is started for it; ended with SIGTERM, and it must end by itself."""
    port = free_port()
    process = launched(workspace, line, PORT=str(port), **variables)
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=10) as client:

            async def answers() -> bool:
                assert process.poll() is None, process.stdout.read() if process.stdout else ""
                with suppress(httpx.TransportError):
                    await client.get("/")
                    return True
                return False

            await eventually(answers)
            yield client
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            await asyncio.to_thread(process.communicate, timeout=20)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
