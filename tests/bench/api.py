"""`make bench-api`: what one process of the controller's API does per second, on real tables.

100 apps with 20 releases each; one uvicorn worker, and the background worker in a process of its own, both on the
memory engine; PostgreSQL on the same machine.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import httpx
import psutil
import uvloop
from cryptography.fernet import Fernet

from bench.load import Request, at_rate, count, request_bytes, saturate
from shared.db import migrate
from standalone.postgres import EmbeddedPostgres
from support.controller_api import running_api, settings_for
from support.statements import heard_statements

APPS, RELEASES = 100, 20
CONNECTIONS = 16
SECONDS = 6.0
SHARE = 0.8
MANY = 100_000
STARTED_SECONDS = 0.5
"""A worker that has used less is still loading its modules."""
PEOPLE = 20
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Endpoint:
    """What is measured: `aim` is requests per second."""

    name: str
    method: str
    path: Callable[[int], str]
    aim: float
    body: Callable[[int], bytes] = lambda _: b""


@dataclass(frozen=True)
class Figure:
    """What came of it. Milliseconds are those at 80 % of the most that was reached; `cpu_ms` is what one request costs
    the server's process."""

    endpoint: str
    per_second: float
    aim_per_second: float
    p50_ms: float
    p99_ms: float
    cpu_ms: float
    queries: int
    refused: int


def app_of(number: int) -> str:
    """The name of one of the apps."""
    return f"app-{number % APPS:03}"


def variable(number: int) -> bytes:
    """A config change that changes something every time."""
    return json.dumps({"values": [{"name": "COUNTER", "group": "global", "value": str(number)}]}).encode()


ENDPOINTS = (
    Endpoint("GET /v2/apps/{id}", "GET", lambda n: f"/v2/apps/{app_of(n)}/", 1500),
    Endpoint("GET /v2/apps?limit=100", "GET", lambda _: "/v2/apps/?limit=100", 300),
    Endpoint("GET releases", "GET", lambda n: f"/v2/apps/{app_of(n)}/releases/?limit=100", 0),
    Endpoint("POST config", "POST", lambda n: f"/v2/apps/{app_of(n)}/config/", 250, variable),
)


def main() -> None:
    """Measure and print; `--json` for machines, `--quick` for a look (short runs, fewer requests)."""
    arguments = set(sys.argv[1:])
    if unknown := arguments - {"--json", "--quick"}:
        sys.exit(f"unknown argument {unknown.pop()}; there are --json and --quick")
    uvloop.run(_main(as_json="--json" in arguments, quick="--quick" in arguments))


async def _main(*, as_json: bool, quick: bool) -> None:
    seconds, many = (2.0, 5_000) if quick else (SECONDS, MANY)

    def say(text: str) -> None:
        stream = sys.stderr if as_json else sys.stdout
        stream.write(f"{text}\n")
        stream.flush()

    async with _database() as url:
        keys = Fernet.generate_key().decode()
        say(f"making {APPS} apps with {RELEASES} releases each")
        token, queries = await _prepare(url, keys)
        async with _processes(url, keys) as (port, process):
            server = Server(port, process, token)
            figures = []
            for endpoint in ENDPOINTS:
                figures.append(await _measure(server, endpoint, queries=queries[endpoint.name], seconds=seconds))
                say(_told(figures[-1]))
            say(f"sending {many} requests")
            before, after, refused = await _memory(server, many)
    if as_json:
        cores = os.cpu_count()
        facts = {"cores": cores, "figures": [asdict(figure) for figure in figures]}
        memory = {"requests": many, "before_mb": before, "after_mb": after, "refused": refused}
        sys.stdout.write(json.dumps(facts | {"memory": memory}) + "\n")
        return
    say(f"memory: {before:.0f} MB, after {many} more requests {after:.0f} MB (target: no growth); {refused} refused")


def _told(figure: Figure) -> str:
    aim = f"target {figure.aim_per_second:.0f}/s" if figure.aim_per_second else "no target"
    return (
        f"{figure.endpoint}: {figure.per_second:.0f}/s ({aim}; {os.cpu_count()} cores); at {SHARE:.0%} of it p50"
        f" {figure.p50_ms:.1f} ms, p99 {figure.p99_ms:.1f} ms (target 40 ms); {figure.cpu_ms:.2f} ms of CPU,"
        f" {figure.queries} queries, {figure.refused} refused"
    )


@asynccontextmanager
async def _database() -> AsyncIterator[str]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        base = Path(directory)
        server = EmbeddedPostgres(base / "data", socket_dir=base / "run", log_file=base / "log", durable=True)
        await server.start()
        try:
            url = server.url("controller")
            await migrate(url, "controller")
            yield url
        finally:
            await server.stop()


async def _prepare(url: str, keys: str) -> tuple[str, dict[str, int]]:
    """Make what is asked for later; gives a token and the queries that one request of each endpoint costs."""
    async with running_api(url, encryption_keys=[keys]) as api:
        person = await api.person("ana")
        gate = asyncio.Semaphore(8)

        async def make(number: int) -> None:
            async with gate:
                app = await api.create(app_of(number))
                await api.build(app)
                for release in range(RELEASES - 2):
                    body = {"values": [{"name": f"NAME_{release}", "group": "global", "value": "x" * 20}]}
                    (await person.client.post(f"/v2/apps/{app}/config/", json=body)).raise_for_status()

        await asyncio.gather(*(make(number) for number in range(APPS)))
        await asyncio.gather(*(api.settled(app_of(number)) for number in range(APPS)))
        token = person.token
    async with running_api(url, encryption_keys=[keys], run_worker=False) as api:
        client = api.client(authorization=f"token {token}")
        counted = {endpoint.name: await _queries(client, endpoint) for endpoint in ENDPOINTS}
        await client.aclose()
    return token, counted


async def _queries(client: httpx.AsyncClient, endpoint: Endpoint) -> int:
    """Statements of one request; those that begin and end transactions are not among them."""
    found = 0
    for attempt in range(3):  # the first ones fill caches, and a process that has just started empties them once
        body = endpoint.body(999_999_999 + attempt)
        with heard_statements() as heard:
            response = await client.request(endpoint.method, endpoint.path(0), content=body)
        response.raise_for_status()
        found = len(heard)
        await asyncio.sleep(0.2)
    return found


@asynccontextmanager
async def _processes(url: str, keys: str) -> AsyncIterator[tuple[int, psutil.Process]]:
    """The API and the worker, as they run in a cluster."""
    with socket.create_server((HOST, 0)) as free:
        port = free.getsockname()[1]
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(_process("serve", url, keys, port))
        worker = await stack.enter_async_context(_process("work", url, keys, port))
        await _ready(port)
        await _quiet(psutil.Process(worker.pid))
        yield port, psutil.Process(api.pid)


@asynccontextmanager
async def _process(command: str, url: str, keys: str, port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    plain = settings_for(url, encryption_keys=[keys])
    environment = {
        "CONTROLLER_DATABASE_URL": url,
        "CONTROLLER_BIND_PORT": str(port),
        "CONTROLLER_RUN_WORKER": "false",
        "CONTROLLER_ENGINE": "memory",
        "CONTROLLER_BUS_URL": "memory://",
        "CONTROLLER_ENCRYPTION_KEYS": json.dumps([keys]),
        "CONTROLLER_PASSPORT_CLIENT_SECRET": "none",
        "CONTROLLER_DATABASE_POOL_SIZE": "10",
        "CONTROLLER_RATE_LIMIT": "0",
        **{
            f"CONTROLLER_{name.upper()}": str(getattr(plain, name))
            for name in ("public_url", "issuer", "passport_url", "passport_client_id", "app_domain")
        },
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "controller.cli", command),
        env={"PATH": os.environ.get("PATH", os.defpath), **environment},
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _ready(port: int) -> None:
    async with httpx.AsyncClient() as client, asyncio.timeout(30):
        while True:
            try:
                if (await client.get(f"http://{HOST}:{port}/readiness")).status_code == 200:
                    return
            except httpx.HTTPError:
                await asyncio.sleep(0.1)


async def _quiet(worker: psutil.Process) -> None:
    """A worker that starts looks at every app once; what it takes for that is not the API's."""
    async with asyncio.timeout(60):
        while True:
            before = worker.cpu_times().user
            await asyncio.sleep(1.0)
            if before > STARTED_SECONDS and worker.cpu_times().user - before < 0.05:
                return


@dataclass(frozen=True)
class Server:
    """The process that is measured, and a token that it takes."""

    port: int
    process: psutil.Process
    token: str

    @property
    def memory_mb(self) -> float:
        """What it holds."""
        return float(self.process.memory_info().rss / 1e6)

    @property
    def cpu_seconds(self) -> float:
        """What it has used."""
        times = self.process.cpu_times()
        return float(times.user + times.system)


async def _measure(server: Server, endpoint: Endpoint, *, queries: int, seconds: float) -> Figure:
    await saturate(
        HOST, server.port, _request(server.token, endpoint), connections=CONNECTIONS, seconds=1.0
    )  # caches warm
    cpu = server.cpu_seconds
    most = await saturate(HOST, server.port, _request(server.token, endpoint), connections=CONNECTIONS, seconds=seconds)
    cpu = server.cpu_seconds - cpu
    rate = most.per_second * SHARE
    request = _request(server.token, endpoint)
    steady = await at_rate(HOST, server.port, request, rate=rate, connections=CONNECTIONS * 4, seconds=seconds)
    return Figure(
        endpoint=endpoint.name,
        per_second=most.per_second,
        aim_per_second=endpoint.aim,
        p50_ms=steady.percentile_ms(0.5),
        p99_ms=steady.percentile_ms(0.99),
        cpu_ms=cpu * 1000 / len(most.seconds),
        queries=queries,
        refused=most.refused + steady.refused,
    )


def _request(token: str, endpoint: Endpoint) -> Request:
    """The requests of one run; values of its own, so that every change does change something."""
    run = os.urandom(2).hex()

    def request(number: int) -> bytes:
        body = endpoint.body(number).replace(b'"value": "', f'"value": "{run}-'.encode())
        return request_bytes(endpoint.method, endpoint.path(number), token=token, body=body)

    return request


async def _memory(server: Server, many: int) -> tuple[float, float, int]:
    """Megabytes before and after, in the proportion of real use: mostly reading, some changes."""
    requests = [_request(server.token, endpoint) for endpoint in ENDPOINTS]
    mix: Sequence[int] = (0, 0, 0, 0, 0, 0, 1, 2, 2, 3)

    def mixed(number: int) -> bytes:
        return requests[mix[number % len(mix)]](number)

    await count(HOST, server.port, mixed, connections=CONNECTIONS, total=max(many // 20, 2_000))
    before = server.memory_mb
    load = await count(HOST, server.port, mixed, connections=CONNECTIONS, total=many)
    return before, server.memory_mb, load.refused


if __name__ == "__main__":
    main()
