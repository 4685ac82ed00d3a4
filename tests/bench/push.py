"""`make bench-push`: what a `git push` costs, beside OpenSSH's sshd on the same machine (builder.md 20).

The builder is the real service in a process of its own, with PostgreSQL beside it; controller and passport are those of
the integration tests. The pushes that are compared go to a branch that is only stored, as those to sshd are, behind the
same hook: no build is in the figure. Everything else goes to `main`, through the whole pipeline with a runner that
ends at once. Runs alternate; one that was disturbed by other programs is repeated, and if need be counted all the same.
"""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import asyncssh
import psutil
import uvloop

from bench.push_sshd import HOST, Sshd, running_sshd, user
from builder.ssh.hostkeys import load_host_keys
from integration.builder_ssh.far_side import ISSUER, FarSide
from integration.builder_ssh.world import FarSettings, git_environment
from shared.settings import load_settings
from shared.web.server import serving
from standalone.postgres import EmbeddedPostgres

MIB: Final = 1024 * 1024
BLOBS: Final = 200
RUNS, QUICK_RUNS = 7, 2
LOGINS: Final = 15
SMALL, AT_ONCE = 64, 8
LARGE: Final = 4
DISTURBED_SECONDS: Final = 0.25
"""CPU time of other programs during one run."""
REPEATS: Final = 3
NEEDED_BYTES: Final = 3 * 1024 * MIB
_STORED, _BUILT = "main:incoming", "main"


@dataclass(frozen=True)
class Figure:
    """What was measured. `target` is the least that it should be when `is_least`, else the most; None: told for its own
    sake."""

    name: str
    value: float
    unit: str
    target: float | None = None
    is_least: bool = False
    note: str = ""

    @property
    def told(self) -> str:
        """One line about it."""
        aim = "" if self.target is None else f" (target {'at least' if self.is_least else 'under'} {self.target:g})"
        return f"{self.name}: {self.value:.3g} {self.unit}{aim}" + (f"; {self.note}" if self.note else "")


@dataclass
class Bench:
    """Everything that runs, and the client's side."""

    base: Path
    builder: Builder
    sshd: Sshd
    key: Path
    say: Callable[[str], None]
    disturbed: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: iter(range(1, 1_000_000)))

    def ssh(self) -> list[str]:
        """The client that all servers are reached by."""
        options = ["StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", "BatchMode=yes"]
        fixed = [part for option in (*options, "LogLevel=ERROR") for part in ("-o", option)]
        return ["ssh", "-F", "/dev/null", "-i", str(self.key), *fixed]

    def port(self, server: str) -> int:
        return self.builder.port if server == "builder" else self.sshd.port

    def repository(self, server: str, app: str) -> Path:
        return self.base / server / "repos" / f"{app}.git"

    async def push(self, server: str, source: Path, app: str, refs: str) -> float:
        """Push; returns the seconds that it took.

        Raises:
            SystemExit: it failed.
        """
        remote = f"ssh://{_user(server)}@{HOST}:{self.port(server)}/{app}.git"
        environment = git_environment(self.base) | {"GIT_SSH_COMMAND": shlex.join(self.ssh())}
        with self._hook(server, app):
            started = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *("git", "-C", str(source), "push", "--quiet", remote, refs),
                env=environment,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            output, _ = await process.communicate()
            took = time.perf_counter() - started
        if process.returncode != 0:
            raise SystemExit(f"a push to {server} failed: {output.decode(errors='replace')}")
        return took

    @contextmanager
    def _hook(self, server: str, app: str) -> Iterator[None]:
        if server == "builder":
            yield
            return
        with self.sshd.hooks.expect("push") as token:
            (self.sshd.base / "tokens" / f"{app}.git").write_text(token)
            yield

    async def large_push(self, server: str, source: Path, refs: str) -> float:
        """Push everything into a new repository, and remove that."""
        app = f"large-{next(self.numbers)}"
        self.builder.far_side.grants.add(("ana", app))
        took = await self.push(server, source, app, refs)
        await asyncio.to_thread(shutil.rmtree, self.repository(server, app))
        return took

    async def undisturbed(self, run: Callable[[], Awaitable[float]]) -> float:
        """What a run gives that no other program disturbed; after some attempts, what it gives anyway."""
        took = 0.0
        for _ in range(REPEATS):
            before = self._foreign_seconds()
            took = await run()
            if self._foreign_seconds() - before <= DISTURBED_SECONDS:
                return took
        self.disturbed += 1
        return took

    def _foreign_seconds(self) -> float:
        """CPU time of all that is not ours since the machine started: a difference of two of these is meant."""
        mine = os.times()
        ours = mine.user + mine.system + mine.children_user + mine.children_system
        return _busy_seconds() - ours - _cpu_seconds(self.sshd.process) - self.builder.all_seconds


@dataclass
class Builder:
    """Our process."""

    port: int
    process: psutil.Process
    pipes: asyncio.subprocess.Process
    far_side: FarSide

    @property
    def memory_mb(self) -> float:
        """What it holds."""
        return float(self.process.memory_info().rss / MIB)

    @property
    def cpu(self) -> tuple[float, float]:
        """Seconds that it has used itself, and that the programs used which it started and which have ended."""
        times = self.process.cpu_times()
        return times.user + times.system, times.children_user + times.children_system

    @property
    def all_seconds(self) -> float:
        """CPU time of it, of the programs that it started, and of its database."""
        return sum(_cpu_seconds(root) for root in (self.process, *self.postgres()))

    async def watch(self) -> None:
        """Begin to measure how late its event loop is."""
        await self._send(b"watch\n")

    async def lateness(self) -> list[float]:
        """Seconds, since `watch`."""
        await self._send(b"lateness\n")
        assert self.pipes.stdout is not None
        answer: dict[str, list[float]] = json.loads(await self.pipes.stdout.readline())
        return answer["seconds"]

    @staticmethod
    def postgres() -> list[psutil.Process]:
        """The database beside it; its server has the time of the connections that have ended."""
        return [child for child in psutil.Process().children(recursive=True) if child.name().startswith("postgres")]

    async def _send(self, command: bytes) -> None:
        assert self.pipes.stdin is not None
        self.pipes.stdin.write(command)
        await self.pipes.stdin.drain()


def main() -> None:
    """Measure and print; `--json` for machines, `--quick` for a look (fewer runs)."""
    arguments = set(sys.argv[1:])
    if unknown := arguments - {"--json", "--quick"}:
        sys.exit(f"unknown argument {unknown.pop()}; there are --json and --quick")
    uvloop.run(_main(as_json="--json" in arguments, quick="--quick" in arguments))


async def _main(*, as_json: bool, quick: bool) -> None:
    def say(text: str) -> None:
        stream = sys.stderr if as_json else sys.stdout
        stream.write(f"{text}\n")
        stream.flush()

    place = _place()
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {_kind(place)}, git and ssh clients on the same machine"
    say(f"machine: {machine}")
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory(prefix="bp-", dir=place) as name:
        base = Path(name)
        async with _running(base, say) as bench:
            large = await _source(base / "large", blobs=BLOBS)
            small = await _source(base / "small", blobs=0)
            async for figure in _figures(bench, large, small, runs=QUICK_RUNS if quick else RUNS):
                figures.append(figure)
                say(figure.told)
            say(f"{bench.disturbed} runs were disturbed by other programs and count all the same")
            disturbed = bench.disturbed
    if as_json:
        facts = {"machine": machine, "disturbed": disturbed, "figures": [asdict(figure) for figure in figures]}
        sys.stdout.write(json.dumps(facts) + "\n")


async def _figures(bench: Bench, large: Path, small: Path, *, runs: int) -> AsyncIterator[Figure]:
    for server in ("builder", "sshd"):  # caches warm
        await bench.push(server, small, _granted(bench, "warm"), _STORED)
    async for figure in _logins(bench):
        yield figure
    async for figure in _small_pushes(bench, small):
        yield figure
    async for figure in _memory(bench, large):  # before anything else large: what has grown once does not grow again
        yield figure
    async for figure in _throughput(bench, large, runs=runs):
        yield figure


async def _throughput(bench: Bench, source: Path, *, runs: int) -> AsyncIterator[Figure]:
    seconds: dict[str, list[float]] = {"builder": [], "sshd": []}
    for number in range(runs):
        for server in sorted(seconds, reverse=number % 2 == 1):

            async def push(server: str = server) -> float:
                return await bench.large_push(server, source, _STORED)

            seconds[server].append(await bench.undisturbed(push))
    megabytes = sum(path.stat().st_size for path in (source / ".git/objects/pack").glob("*.pack")) / 1e6
    speed = {server: megabytes / statistics.median(taken) for server, taken in seconds.items()}
    for server, taken in seconds.items():
        spread = f"{min(taken):.2f}-{max(taken):.2f} s, {runs} runs of {megabytes:.0f} MB"
        yield Figure(f"throughput of {server}", speed[server], "MB/s", note=spread)
    yield Figure("builder against sshd", speed["builder"] / speed["sshd"], "times", target=1.3, is_least=True)


async def _logins(bench: Bench) -> AsyncIterator[Figure]:
    for server, target in (("builder", 130.0), ("sshd", None)):
        taken = []
        for _ in range(LOGINS):
            started = time.perf_counter()
            process = await asyncio.create_subprocess_exec(
                *(*bench.ssh(), "-p", str(bench.port(server)), f"{_user(server)}@{HOST}", "no-such-command"),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            if await process.wait() != 1:
                raise SystemExit(f"{server} did not refuse a command that does not exist")
            taken.append((time.perf_counter() - started) * 1000)
        note = f"{min(taken):.0f}-{max(taken):.0f} ms"
        yield Figure(f"connect, log in and be refused, {server}", statistics.median(taken), "ms", target, note=note)


async def _small_pushes(bench: Bench, source: Path) -> AsyncIterator[Figure]:
    """Of sshd, which only stores, and of the builder, which builds and releases as well."""
    for server, refs in (("sshd", _STORED), ("builder", _BUILT)):
        gate = asyncio.Semaphore(AT_ONCE)

        async def push(app: str, server: str = server, refs: str = refs, gate: asyncio.Semaphore = gate) -> float:
            async with gate:
                return await bench.push(server, source, app, refs)

        started, cpu, ours, busy = time.perf_counter(), bench.builder.cpu, bench.builder.all_seconds, _busy_seconds()
        taken = await asyncio.gather(*(push(_granted(bench, f"small-{number}")) for number in range(SMALL)))
        ours, busy = bench.builder.all_seconds - ours, _busy_seconds() - busy
        note = f"all of {SMALL} succeeded, {AT_ONCE} at a time, in {time.perf_counter() - started:.1f} s"
        what = "built and released" if server == "builder" else "stored"
        median = statistics.median(taken)
        yield Figure(f"small push to {server}, {what}, median", median, "s", note=note)
        if server == "builder":
            note = f"{ours * 1000 / SMALL:.0f} of {busy * 1000 / SMALL:.0f} ms CPU for each, the rest is the clients'"
            note += f" and the stand-ins' for other services; {_cpu(cpu, bench.builder.cpu, SMALL)}"
            yield Figure("of that our own time, by the share of CPU", median * ours / busy, "s", 0.5, note=note)


async def _memory(bench: Bench, source: Path) -> AsyncIterator[Figure]:
    before, cpu = bench.builder.memory_mb, bench.builder.cpu
    late: list[float] = []
    taken = []
    for _ in range(LARGE):
        await bench.builder.watch()
        taken.append(await bench.large_push("builder", source, _BUILT))
        late += await bench.builder.lateness()
    after = bench.builder.memory_mb
    yield Figure(f"memory growth in {LARGE} large pushes", after - before, "MiB", 20, note=f"from {before:.0f} MiB")
    late_ms = sorted(seconds * 1000 for seconds in late)
    note = f"p50 {_at(late_ms, 0.5):.1f} ms, most {late_ms[-1]:.0f} ms"
    yield Figure("lateness of the event loop in a large push, p99", _at(late_ms, 0.99), "ms", 15, note=note)
    note = _cpu(cpu, bench.builder.cpu, LARGE)
    yield Figure("large push, built and released, median", statistics.median(taken), "s", note=note)


def _busy_seconds() -> float:
    total = psutil.cpu_times()
    return float(sum(total) - total.idle - total.iowait - total.guest - total.guest_nice)


def _cpu_seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _cpu(before: tuple[float, float], after: tuple[float, float], count: int) -> str:
    own, started = ((late - early) * 1000 / count for early, late in zip(before, after, strict=True))
    return f"CPU for each: {own:.0f} ms of the builder, {started:.0f} ms of git and hook"


def _at(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(len(values) * share))]


def _granted(bench: Bench, app: str) -> str:
    bench.builder.far_side.grants.add(("ana", app))
    return app


def _user(server: str) -> str:
    return "git" if server == "builder" else user()


@asynccontextmanager
async def _running(base: Path, say: Callable[[str], None]) -> AsyncIterator[Bench]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    key.write_private_key(base / "key")
    (base / "key").chmod(0o600)
    key.write_public_key(base / "key.pub")
    far_side = FarSide()
    far_side.keys[key.get_fingerprint("sha256")] = "ana"
    for name in ("builder/repos", "sshd/repos", "postgres"):
        (base / name).mkdir(parents=True)
    async with AsyncExitStack() as stack:
        address = await stack.enter_async_context(serving(far_side.app(), load_settings(FarSettings, bind_port=0)))
        url = await stack.enter_async_context(_database(base / "postgres"))
        settings = _settings(base / "builder", url, address.base_url)
        load_host_keys(base / "builder" / "ssh")
        builder = await stack.enter_async_context(_builder(base / "builder", settings, far_side))
        sshd = await stack.enter_async_context(
            running_sshd(base / "sshd", repos=base / "sshd" / "repos", public_key=base / "key.pub")
        )
        yield Bench(base, builder, sshd, base / "key", say)


@asynccontextmanager
async def _database(base: Path) -> AsyncIterator[str]:
    server = EmbeddedPostgres(base / "data", socket_dir=base / "run", log_file=base / "log", durable=True)
    await server.start()
    try:
        yield server.url("builder")
    finally:
        await server.stop()


def _settings(base: Path, database_url: str, far_side: str) -> dict[str, Any]:
    paths = {name: str(base / name) for name in ("repos", "build_logs", "workspaces", "caches", "run_dir")}
    return {
        **paths,
        "host_key_dir": str(base / "ssh"),
        "database_url": database_url,
        "controller_url": far_side,
        "passport_url": far_side,
        "issuer": ISSUER,
        "client_secret": "none",
        "bind_port": 0,
        "ssh_host": HOST,
        "ssh_port": 0,
        "log_level": "ERROR",
    }


@asynccontextmanager
async def _builder(base: Path, settings: dict[str, Any], far_side: FarSide) -> AsyncIterator[Builder]:
    path = base / "settings.json"
    path.write_text(json.dumps(settings))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.push_builder", str(path)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=64 * MIB,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            first = await process.stdout.readline()
        if not first:
            raise SystemExit("the builder did not start; what it said stands above")
        yield Builder(json.loads(first)["port"], psutil.Process(process.pid), process, far_side)
    finally:
        process.stdin.close()
        await process.wait()


async def _source(path: Path, *, blobs: int) -> Path:
    """A repository with one commit: random blobs of 1 MiB in one pack, uncompressed."""
    await asyncio.to_thread(_fill, path, blobs)
    await _git(path, "init", "--quiet", "-b", "main")
    for name, value in {"core.compression": "0", "core.bigFileThreshold": "512k", "gc.auto": "0"}.items():
        await _git(path, "config", name, value)
    await _git(path, "add", "-A")
    await _git(path, "commit", "--quiet", "-m", "one")
    await _git(path, "repack", "-a", "-d", "--quiet")
    return path


def _fill(path: Path, blobs: int) -> None:
    path.mkdir()
    (path / "Procfile").write_text("web: ./serve\n")
    for number in range(blobs):
        (path / f"blob-{number:03}").write_bytes(os.urandom(MIB))


async def _git(path: Path, *arguments: str) -> None:
    process = await asyncio.create_subprocess_exec("git", "-C", str(path), *arguments, env=git_environment(path.parent))
    if await process.wait() != 0:
        raise SystemExit(f"git {arguments[0]} failed")


def _place() -> Path:
    """Memory, where there is enough of it."""
    memory = Path("/dev/shm")
    is_large = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > NEEDED_BYTES
    return memory if is_large else Path(tempfile.gettempdir())


def _kind(place: Path) -> str:
    return "repositories in memory" if place.parts[:2] == ("/", "dev") else f"repositories below {place}"


if __name__ == "__main__":
    main()
