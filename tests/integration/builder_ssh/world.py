"""A running builder with real ssh and git clients around it."""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import asyncssh
import httpx
import psutil
from fastapi import FastAPI
from pydantic import SecretStr

from builder.main import create_app
from builder.settings import Settings
from integration.builder_ssh.far_side import ISSUER, FarSide, ScriptedRunner
from shared.bus import Bus, InProcessBus
from shared.bus.rabbit import RabbitBus
from shared.events import BuildSucceeded, Envelope, Event, ReleaseCreated, ReleaseDeployed, ReleaseProgress
from shared.settings import ServiceSettings, load_settings
from shared.web.server import serving

DEADLINE_SECONDS = 60.0


class FarSettings(ServiceSettings):
    """Where the far side listens."""


@dataclass
class Outcome:
    status: int
    output: str


@dataclass
class World:
    """`events` is all that the builder published. With `deploys`, every succeeded build is deployed at once."""

    path: Path
    far_side: FarSide
    runner: ScriptedRunner
    bus: Bus
    app: FastAPI
    settings: Settings
    events: list[Envelope] = field(default_factory=list)
    deploys: bool = True
    versions: dict[str, int] = field(default_factory=dict)

    @property
    def context(self) -> Any:
        return self.app.state.context

    def processes(self) -> list[psutil.Process]:
        """Those that carry this builder's mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("WORKFLOW_HOME_ID") == self.settings.process_mark:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def event_types(self) -> list[str]:
        return [envelope.routing_key for envelope in self.events]

    async def on_build(self, envelope: Envelope) -> None:
        self.events.append(envelope)
        event = envelope.unwrap()
        if isinstance(event, BuildSucceeded) and self.deploys:
            await self.release(event)

    async def release(self, build: BuildSucceeded) -> None:
        """Answer a build as the controller does."""
        version = self.versions[build.app] = self.versions.get(build.app, 1) + 1
        facts: dict[str, Any] = {"app": build.app, "version": version, "build_id": build.build_id}
        who: dict[str, Any] = {"sha": build.sha, "actor": build.actor, "summary": "deployed"}
        await self.publish(ReleaseCreated(**facts, **who))
        await self.publish(ReleaseProgress(**facts, message="web: 1 of 1 up"))
        await self.publish(ReleaseDeployed(**facts, **who, url=f"http://{build.app}.localhost:8080"))

    async def publish(self, event: Event) -> None:
        await self.bus.publish(Envelope.wrap(event, source="/services/controller"))

    def add_user(self, name: str, *apps: str) -> Path:
        """Register a new key for a user; returns the private key's path."""
        path = self.path / f"key-{name}"
        key = asyncssh.generate_private_key("ssh-ed25519")
        key.write_private_key(path)
        path.chmod(0o600)
        self.far_side.keys[key.get_fingerprint("sha256")] = name
        self.far_side.grants |= {(name, app) for app in apps}
        return path

    def ssh_command(self, key: Path, *options: str) -> list[str]:
        fixed = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes"]
        settings = [part for option in (*fixed, *options) for part in ("-o", option)]
        return ["ssh", "-F", "/dev/null", "-i", str(key), *settings]

    async def ssh(self, key: Path, *command: str, options: Sequence[str] = ()) -> Outcome:
        port = str(self.context.ssh.port)
        return await run(*self.ssh_command(key, *options), "-p", port, "git@127.0.0.1", *command)

    def git_environment(self, key: Path) -> dict[str, str]:
        command = shlex.join(self.ssh_command(key))
        return git_environment(self.path) | {"GIT_SSH_COMMAND": command}

    def remote(self, app: str) -> str:
        return f"ssh://git@127.0.0.1:{self.context.ssh.port}/{app}.git"

    async def push(
        self,
        key: Path,
        source: Path,
        app: str,
        *refs: str,
        options: Sequence[str] = (),
        seconds: float = DEADLINE_SECONDS,
    ) -> Outcome:
        arguments = ["git", "-C", str(source), "push", *options, self.remote(app), *(refs or ("main",))]
        return await run(*arguments, environment=self.git_environment(key), seconds=seconds)

    async def start_push(self, key: Path, source: Path, app: str, *refs: str) -> asyncio.subprocess.Process:
        """A push in a process group of its own, to be killed."""
        return await asyncio.create_subprocess_exec(
            *("git", "-C", str(source), "push", self.remote(app), *(refs or ("main",))),
            env=self.git_environment(key),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )

    def http(self, scope: str = "builder:read builder:write") -> httpx.AsyncClient:
        token = self.far_side.token(audience="builder", scope=scope, subject="controller")
        return httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app),
            base_url="http://builder",
            headers={"Authorization": f"Bearer {token}"},
        )


def git_environment(home: Path) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_NAME": "Ana",
        "GIT_AUTHOR_EMAIL": "ana@example.com",
        "GIT_COMMITTER_NAME": "Ana",
        "GIT_COMMITTER_EMAIL": "ana@example.com",
        "LC_ALL": "C",
    }


async def run(*command: str, environment: dict[str, str] | None = None, seconds: float = DEADLINE_SECONDS) -> Outcome:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(seconds):
        output, _ = await process.communicate()
    assert process.returncode is not None
    return Outcome(process.returncode, output.decode(errors="replace"))


def kill_group(process: asyncio.subprocess.Process, how: signal.Signals = signal.SIGKILL) -> None:
    os.killpg(process.pid, how)


async def commit(source: Path, files: dict[str, str | bytes], *, branch: str = "main") -> str:
    """Commit these files; the repository is made when it is missing. Returns the commit id."""
    environment = git_environment(source.parent)
    if not (source / ".git").exists():
        await run("git", "init", "-q", "-b", branch, str(source), environment=environment)
    for name, content in files.items():
        path = source / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    await run("git", "-C", str(source), "add", "-A", environment=environment)
    made = await run("git", "-C", str(source), "commit", "-q", "-m", "change", environment=environment)
    assert made.status == 0, made.output
    return (await run("git", "-C", str(source), "rev-parse", "HEAD", environment=environment)).output.strip()


@asynccontextmanager
async def open_world(
    path: Path,
    database_url: str,
    *,
    is_scripted: object = True,
    scripted: object = None,
    far_side: FarSide | None = None,
    far_bus: object = None,
    **overrides: object,
) -> AsyncIterator[World]:
    """A builder on free ports with everything below `path`; without a script it builds for real.

    A builder that goes on with builds asks at once who may push: `far_side` is then given from before its start. With a
    `far_bus`, which is the controller's, the builder has one of its own, that of its settings.
    """
    far_side = far_side or FarSide()
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(far_side.app(), load_settings(FarSettings, bind_port=0)))
        runner = scripted if isinstance(scripted, ScriptedRunner) else ScriptedRunner(path / "scratch")
        bus: Bus = far_bus if isinstance(far_bus, RabbitBus) else InProcessBus()
        settings = load_settings(
            Settings,
            **{
                "database_url": database_url,
                "controller_url": address.base_url,
                "passport_url": address.base_url,
                "issuer": ISSUER,
                "client_secret": SecretStr("not a secret"),
                "ssh_host": "127.0.0.1",
                "ssh_port": 0,
                "host_key_dir": path / "ssh",
                "repos": path / "repos",
                "build_logs": path / "build-logs",
                "workspaces": path / "workspaces",
                "caches": path / "caches",
                "run_dir": path / "run",
                "process_mark": str(path),
                "verdict_timeout": timedelta(seconds=30),
                "drain_seconds": 0.0,
                **overrides,
            },
        )
        app = create_app(settings, bus=None if far_bus else bus, runner=runner if is_scripted else None)
        world = World(path, far_side, runner, bus, app, settings)
        await bus.subscribe(consumer="controller.builds", patterns=["build.*"], handler=world.on_build)
        await stack.enter_async_context(app.router.lifespan_context(app))
        yield world
