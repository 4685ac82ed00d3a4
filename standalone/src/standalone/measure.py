"""Figures of a running platform on this machine: push, edge, rolling restart, idle. Printed, never asserted."""

from __future__ import annotations

import asyncio
import os
import socket
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil

from standalone.client import Client
from standalone.demo import SAMPLE_APP, Demo, run
from standalone.errors import CommandFailedError
from standalone.home import Config, Home
from standalone.keeper import keeper_pids
from standalone.processes import marked

PUSHES = 5
EDGE_REQUESTS = 2000
RATE_PER_SECOND = 200
LOAD_SECONDS = 8
IDLE_SECONDS = 15


@dataclass(frozen=True)
class Measurements:
    """Medians where a figure was taken several times. Seconds, milliseconds, megabytes (10^6 bytes of PSS)."""

    push_seconds: float
    push_git_seconds: float
    push_app_start_seconds: float
    push_own_seconds: float
    edge_median_ms: float
    direct_median_ms: float
    edge_overhead_ms: float
    rolling_requests: int
    rolling_failures: int
    idle_memory_mb: float
    idle_cpu_percent: float
    idle_memory_by_part_mb: dict[str, float]

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def lines(self) -> list[str]:
        """Figure, target, machine."""
        cores = f"{os.cpu_count()} cores"
        return [
            f"push, unchanged dependencies, until the edge serves it: {self.push_seconds:.2f} s (target 8 s; {cores})",
            f"  of it git {self.push_git_seconds:.2f} s, app start {self.push_app_start_seconds:.2f} s,"
            f" own share {self.push_own_seconds:.2f} s (target 1 s; {cores})",
            f"edge over direct, median: {self.edge_overhead_ms:.2f} ms (target 1 ms; {cores})",
            f"config set under {RATE_PER_SECOND} requests/s: {self.rolling_failures} of {self.rolling_requests} failed"
            f" (target 0; {cores})",
            f"idle memory of the platform: {self.idle_memory_mb:.0f} MB (target 400 MB; {cores})",
            f"idle CPU of the platform: {self.idle_cpu_percent:.1f} % of a core (target 2 %; {cores})",
        ]


def measure(home: Home, config: Config, demo: Demo, say: Callable[[str], None]) -> Measurements:
    """Take every figure; the sample must run."""
    say(f"measuring {PUSHES} pushes")
    pushes = [_push(config, demo, f"measured-{number}") for number in range(PUSHES)]
    push = statistics.median(pushes)
    git = statistics.median(_git_alone(demo, f"alone-{number}") for number in range(PUSHES))
    start = statistics.median(_app_start() for _ in range(PUSHES))
    edge, direct = asyncio.run(_edge(config))
    say(f"measuring a rolling restart under {RATE_PER_SECOND} requests/s")
    requests, failures = asyncio.run(_rolling(config))
    say(f"measuring {IDLE_SECONDS} s of idling")
    memory, cpu = _idle(home, config)
    return Measurements(
        push_seconds=round(push, 3),
        push_git_seconds=round(git, 3),
        push_app_start_seconds=round(start, 3),
        push_own_seconds=round(push - git - start, 3),
        edge_median_ms=round(edge * 1000, 3),
        direct_median_ms=round(direct * 1000, 3),
        edge_overhead_ms=round((edge - direct) * 1000, 3),
        rolling_requests=requests,
        rolling_failures=failures,
        idle_memory_mb=round(sum(memory.values()), 1),
        idle_cpu_percent=round(cpu, 2),
        idle_memory_by_part_mb={name: round(value, 1) for name, value in memory.items()},
    )


def _push(config: Config, demo: Demo, revision: str) -> float:
    """Seconds from the start of `git push` until the edge answers with the new revision."""
    demo.change(revision)
    source = demo.head()[:7]
    served: list[float] = []
    watcher = threading.Thread(target=_watch, args=(config, source, served), daemon=True)
    started = time.monotonic()
    watcher.start()
    demo.push(quiet=True)
    watcher.join(timeout=30)
    if not served:
        raise CommandFailedError(f"the edge never served {source}")
    return served[0] - started


def _watch(config: Config, source: str, served: list[float]) -> None:
    with _edge_client(config) as client:
        for _ in range(6000):
            response = client.get("/")
            if response.status_code == 200 and source in response.text:
                served.append(time.monotonic())
                return
            time.sleep(0.005)


def _git_alone(demo: Demo, revision: str) -> float:
    """Seconds that the same push takes into a bare repository on this disk: git's own share, without SSH."""
    demo.change(revision)
    with tempfile.TemporaryDirectory() as directory:
        bare = Path(directory) / "bare.git"
        run(["git", "clone", "--quiet", "--bare", str(demo.repository), str(bare)])
        run(["git", "-C", str(bare), "update-ref", "refs/heads/main", "HEAD~1"])
        started = time.monotonic()
        run(["git", "-C", str(demo.repository), "push", "--quiet", str(bare), "HEAD:refs/heads/main"])
        return time.monotonic() - started


def _app_start() -> float:
    """Seconds from starting the sample's web process, with its own command and environment, until it answers."""
    process = _sample_process()
    environment = dict(process.environ())
    port = _free_port()
    environment |= {"PORT": str(port)}
    started = time.monotonic()
    with subprocess.Popen(
        process.cmdline(),
        env=environment,
        cwd=process.cwd(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as child:
        try:
            while time.monotonic() - started < 30:
                try:
                    httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
                except httpx.TransportError:
                    time.sleep(0.002)
                    continue
                return time.monotonic() - started
        finally:
            child.terminate()
    raise CommandFailedError("the sample alone did not start")


def _sample_process() -> psutil.Process:
    for process in psutil.process_iter():
        try:
            environment = process.environ()
            if environment.get("DRYCC_APP") == SAMPLE_APP and _listens(process, int(environment.get("PORT", "0"))):
                return process
        except (psutil.Error, OSError):
            continue
    raise CommandFailedError("the sample's web process was not found")


def _listens(process: psutil.Process, port: int) -> bool:
    return any(
        item.status == psutil.CONN_LISTEN and item.laddr.port == port for item in process.net_connections(kind="tcp")
    )


async def _edge(config: Config) -> tuple[float, float]:
    """Median seconds of a request through the edge and straight to the process, taken in turns on open connections."""
    port = int(_sample_process().environ()["PORT"])
    edge: list[float] = []
    direct: list[float] = []
    async with (
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{config.http_port}", headers=_host(config), trust_env=False
        ) as one,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as other,
    ):
        for _ in range(EDGE_REQUESTS):
            for client, times in ((one, edge), (other, direct)):
                started = time.perf_counter()
                response = await client.get("/healthz")
                response.raise_for_status()
                times.append(time.perf_counter() - started)
    return statistics.median(edge), statistics.median(direct)


async def _rolling(config: Config) -> tuple[int, int]:
    """Requests sent at a fixed rate while `config set` rolls the app over twice, and how many of them failed."""
    failures = 0

    async def one(client: httpx.AsyncClient) -> None:
        nonlocal failures
        try:
            failures += (await client.get("/healthz")).status_code != 200
        except httpx.HTTPError:
            failures += 1

    total = RATE_PER_SECOND * LOAD_SECONDS
    changes = {total // 5: "first", total // 2: "second"}
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{config.http_port}", headers=_host(config), trust_env=False, timeout=20.0
    ) as client:
        started = time.monotonic()
        tasks = []
        for number in range(total):
            await asyncio.sleep(max(0.0, started + number / RATE_PER_SECOND - time.monotonic()))
            tasks.append(asyncio.create_task(one(client)))
            if number in changes:
                tasks.append(asyncio.create_task(asyncio.to_thread(_set, config, changes[number])))
        await asyncio.gather(*tasks)
    return total, failures


def _set(config: Config, value: str) -> None:
    with Client(config) as client:
        client.login_as_admin()
        client.set_config(SAMPLE_APP, {"UNUSED": value})


def _idle(home: Home, config: Config) -> tuple[dict[str, float], float]:
    """Memory by part (PSS, so that shared pages count once) and CPU of everything but the apps' own processes."""
    parts = _platform_processes(home, config)
    before = {process: _cpu(process) for process, _ in parts}
    time.sleep(IDLE_SECONDS)
    used = sum(_cpu(process) - before[process] for process, _ in parts)
    memory: dict[str, float] = {}
    for process, name in parts:
        memory[name] = memory.get(name, 0.0) + process.memory_full_info().pss / 1e6
    return memory, 100 * used / IDLE_SECONDS


def _platform_processes(home: Home, config: Config) -> list[tuple[psutil.Process, str]]:
    main = psutil.Process(home.running_pid())
    parts = [(main, "services")]
    parts += [(psutil.Process(pid), "keeper") for pid in keeper_pids(config.home_id)]
    for process in marked(config.home_id):
        if "DRYCC_APP" not in process.environ():
            name = "edge" if process.name() == "caddy" else "database"
            parts += [(process, name)] + [(child, name) for child in process.children(recursive=True)]
    return parts


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _host(config: Config) -> dict[str, str]:
    return {"Host": config.url(SAMPLE_APP).removeprefix("http://")}


def _edge_client(config: Config) -> httpx.Client:
    return httpx.Client(
        base_url=f"http://127.0.0.1:{config.http_port}", headers=_host(config), trust_env=False, timeout=10.0
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
