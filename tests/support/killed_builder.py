"""A builder in a process of its own that tests kill, and all that outlives it: volume, database, bus, controller."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import asyncssh
import httpx
import psutil
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.far_side import ISSUER, FarSide
from integration.builder_ssh.world import FarSettings, Outcome, git_environment, run
from shared.bus import Bus, connect_bus
from shared.events import BuildSucceeded, Envelope, Event, ReleaseCreated, ReleaseDeployed
from shared.settings import load_settings
from shared.testing.wait import eventually
from shared.web.server import serving
from support.api_line import ApiLine
from support.builder_cluster import BuildPlace, build_settings
from support.kubectl import Kubectl
from support.tools import free_port

SECONDS: Final = 120.0
_CHANNEL: Final = "builds_of_tests"
_TELL: Final = f"""
CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
    PERFORM pg_notify('{_CHANNEL}', NEW.app || ' ' || coalesce(NEW.verdict, NEW.state)); RETURN NEW;
END $$;
CREATE TRIGGER tell AFTER INSERT OR UPDATE ON builds FOR EACH ROW EXECUTE FUNCTION tell();
"""


class Change(NamedTuple):
    """Committed this moment: what became of the newest build of that app."""

    app: str
    what: str


class Record(NamedTuple):
    """A build as the database has it."""

    id: UUID
    app: str
    number: int
    sha: str
    state: str
    code: str | None
    message: str | None
    images: list[str]


class BuilderProcess:
    """`workflow-builder serve`."""

    def __init__(self, settings: Mapping[str, Any], log: Path) -> None:
        self._settings = settings
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Return when it is ready."""
        program = Path(sys.executable).with_name("workflow-builder")
        environment = {f"BUILDER_{name.upper()}": _text(value) for name, value in self._settings.items()}
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(program), "serve"),
                env={"PATH": os.environ["PATH"], **environment},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        async with httpx.AsyncClient(trust_env=False) as client:
            await eventually(lambda: self._is_ready(client), timeout=60)

    @property
    def is_running(self) -> bool:
        """Nobody has killed it."""
        return self._process is not None and self._process.returncode is None

    def freeze(self) -> None:
        """It does nothing any more, and nobody else sees that."""
        self._running().send_signal(signal.SIGSTOP)

    def kill(self, *, with_children: bool = False) -> None:
        """End it at once; with its children as when its container is killed, else these go on."""
        process = psutil.Process(self._running().pid)
        processes = [process, *(process.children(recursive=True) if with_children else ())]
        for how in (signal.SIGSTOP, signal.SIGKILL):  # none of them reacts to the end of another
            for one in processes:
                try:
                    one.send_signal(how)
                except psutil.NoSuchProcess:
                    continue

    async def wait(self) -> int:
        """Its exit status."""
        assert self._process is not None
        return await self._process.wait()

    async def stop(self) -> None:
        """End it in peace, if it runs."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            await self._process.wait()

    def _running(self) -> asyncio.subprocess.Process:
        assert self._process is not None
        assert self._process.returncode is None, self._log.read_text()[-2000:]
        return self._process

    async def _is_ready(self, client: httpx.AsyncClient) -> bool:
        self._running()
        try:
            answer = await client.get(f"http://127.0.0.1:{self._settings['bind_port']}/readiness")
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK


@dataclass
class Site:
    """`events` is all that was heard of builds, `released` which commits were released and of which builds, for each
    app; apps that are in `silent` get no release until `speak`. `on_change` hears of each change of a build as it is
    committed."""

    path: Path
    builder: BuilderProcess
    ssh_port: int
    key: Path
    far_side: FarSide
    bus: Bus
    database: asyncpg.Connection[asyncpg.Record]
    line: ApiLine
    place: BuildPlace
    kubectl: Kubectl
    events: list[Envelope] = field(default_factory=list)
    released: dict[str, list[tuple[UUID, str]]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    on_change: Callable[[Change], None] = lambda _change: None
    _kept_back: list[BuildSucceeded] = field(default_factory=list)
    _heard: set[str] = field(default_factory=set)

    async def push(self, app: str, *options: str, ref: str = "main") -> Outcome:
        """Push what was committed to the app's branch, or `ref`."""
        self.far_side.grants.add(("ana", app))
        remote = f"ssh://git@127.0.0.1:{self.ssh_port}/{app}.git"
        command = ("git", "-C", str(self.path / app), "push", *options, remote, f"{ref}:refs/heads/main")
        known = ("StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes")
        ssh = ["ssh", "-F", "/dev/null", "-i", str(self.key), *(word for one in known for word in ("-o", one))]
        environment = git_environment(self.path) | {"GIT_SSH_COMMAND": shlex.join(ssh)}
        return await run(*command, environment=environment, seconds=SECONDS)

    async def killed(self, *, with_children: bool = False) -> None:
        """Kill the builder, if nobody has, and start it anew."""
        self.on_change = lambda _change: None
        if self.builder.is_running:
            self.builder.kill(with_children=with_children)
        await self.builder.wait()
        self.line.catch = lambda _method, _path, _body: False
        self.line.caught.clear()
        await self.builder.start()

    async def speak(self) -> None:
        """Release what was kept back."""
        self.silent.clear()
        while self._kept_back:
            await self._release(self._kept_back.pop(0))

    async def builds(self, *apps: str) -> list[Record]:
        """The builds of these apps, the oldest first."""
        query = "SELECT id, app, number, sha, state, code, message, images FROM builds WHERE app = ANY($1) ORDER BY id"
        rows = await self.database.fetch(query, list(apps))
        return [Record(**{**row, "images": json.loads(row["images"] or "[]")}) for row in rows]

    def log(self, build: Record) -> str:
        """What the build has said so far."""
        path = self.path / "build-logs" / build.app / f"{build.id}.log"
        return path.read_text() if path.exists() else ""

    def told(self, build: UUID) -> Counter[str]:
        """How often what was told of a build; an event that came again counts once."""
        ids = {(one.routing_key, one.id) for one in self.events if str(build) == str(one.data.get("build_id"))}
        return Counter(kind for kind, _ in ids)

    async def branch(self, app: str) -> str:
        """The commit that the app's branch is at; empty when there is none."""
        path = self.path / "repos" / f"{app}.git"
        found = await run("git", "-C", str(path), "rev-parse", "--quiet", "--verify", "refs/heads/main")
        return found.output.strip()

    async def left(self) -> list[str]:
        """What is there of builds and pushes, which is nothing when none is under way."""
        found = await asyncio.to_thread(self.kubectl.get, "jobs,secrets", "-n", self.place.namespace)
        objects = [f"{one['kind']}/{one['metadata']['name']}" for one in found["items"]]
        files = [path for path in (self.path / "storage").rglob("*") if path.is_file()]
        repositories = self.path / "repos"
        for pattern in ("*.git/objects/tmp_objdir-*", "*.git/**/*.lock", "*.git/**/tmp_*", "*.git/HEAD.new", ".*"):
            files += repositories.glob(pattern)
        files += (self.path / "build-logs").glob("*/*.position")
        return objects + [str(path.relative_to(self.path)) for path in files] + self._processes()

    def _processes(self) -> list[str]:
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("WORKFLOW_HOME_ID") == str(self.path):
                    found.append(" ".join(process.cmdline()))
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    async def on_build(self, envelope: Envelope) -> None:
        """The controller: an event that comes again has no second effect."""
        self.events.append(envelope)
        build = envelope.unwrap()
        if not isinstance(build, BuildSucceeded) or envelope.id in self._heard:
            return
        self._heard.add(envelope.id)
        if build.app in self.silent:
            self._kept_back.append(build)
        else:
            await self._release(build)

    async def _release(self, build: BuildSucceeded) -> None:
        made = self.released.setdefault(build.app, [])
        made.append((build.build_id, build.sha))
        facts: dict[str, Any] = {"app": build.app, "version": len(made) + 1, "build_id": build.build_id}
        facts |= {"sha": build.sha, "actor": build.actor, "summary": ""}
        await self._publish(ReleaseCreated(**facts))
        await self._publish(ReleaseDeployed(**facts, url=f"http://{build.app}.localhost"))

    async def _publish(self, event: Event) -> None:
        await self.bus.publish(Envelope.wrap(event, source="/services/controller"))

    def _notified(self, _connection: object, _pid: int, _channel: str, payload: object) -> None:
        self.on_change(Change(*str(payload).split(" ")))


@asynccontextmanager
async def running_site(
    path: Path, database_url: str, bus_url: str, *, place: BuildPlace, images: Mapping[str, str], kubectl: Kubectl
) -> AsyncIterator[Site]:
    """A builder at work, with all that it keeps below `path`."""
    load_host_keys(path / "ssh")
    far_side, key = FarSide(), asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(path / "key")
    (path / "key").chmod(0o600)
    far_side.keys[key.get_fingerprint("sha256")] = "ana"
    port, ssh_port = free_port(), free_port()
    line, bus = ApiLine(place.kubeconfig), connect_bus(bus_url)
    database = await asyncpg.connect(make_url(database_url).set(drivername="postgresql").render_as_string(False))
    async with (
        line.open(path) as kubeconfig,
        serving(far_side.app(), load_settings(FarSettings, bind_port=0)) as address,
    ):
        settings = {
            **build_settings(place, images, storage=path / "storage", port=port),
            "kubeconfig": kubeconfig,
            "database_url": database_url,
            "bus_url": bus_url,
            "bind_host": "0.0.0.0",
            "bind_port": port,
            "controller_url": address.base_url,
            "passport_url": address.base_url,
            "issuer": ISSUER,
            "client_secret": "not a secret",
            "ssh_host": "127.0.0.1",
            "ssh_port": ssh_port,
            "host_key_dir": path / "ssh",
            **{name: path / name.replace("_", "-") for name in ("repos", "build_logs", "workspaces", "caches")},
            "run_dir": path / "run",
            "process_mark": path,
            "drain_seconds": 0.0,
            "verdict_timeout": timedelta(seconds=60),
        }
        builder = BuilderProcess(settings, path / "builder.log")
        site = Site(path, builder, ssh_port, path / "key", far_side, bus, database, line, place, kubectl)
        try:
            await database.execute(_TELL)
            await database.add_listener(_CHANNEL, site._notified)
            await bus.subscribe(consumer="controller.builds", patterns=["build.*"], handler=site.on_build)
            await builder.start()
            yield site
        finally:
            await builder.stop()
            await bus.close()
            await database.close()


def _text(value: object) -> str:
    """A setting as an environment variable."""
    match value:
        case SecretStr():
            return value.get_secret_value()
        case timedelta():
            return str(value.total_seconds())
        case dict() | list():
            return json.dumps(value)
        case _:
            return str(value)
