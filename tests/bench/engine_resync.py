"""Many apps and one worker: how long it takes to look at all of them after its start, and how much memory.

`resync` prepares and measures; the worker is a process of its own on one core (`python -m bench.engine_resync`), which
gets what it needs in its environment and prints a line of JSON when it has looked at every app.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
import uvloop

from controller.domain.spec import AppSpec
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.engine import KubernetesEngine
from controller.worker import open_process, working
from shared.bus import InProcessBus
from shared.kubernetes.transport import Kubeconfig
from support.cluster_platform import APP_DOMAIN, LIMITS_FILE, Platform, config_for, running_platform
from support.controller_api import settings_for
from support.kubectl import Kubectl

_SECONDS: Final = 900.0
_AT_ONCE: Final = 8
_ENVIRONMENT: Final = "BENCH_RESYNC"


@dataclass(frozen=True)
class Resync:
    """Seconds from the start of a worker's process until it had looked at every app: `made_seconds` when it had to make
    them, `seconds` when all was there. Of the latter, `known_seconds` until it knew what the cluster has, and
    `cpu_seconds` on the core. Memory in megabytes, then and the most of it until then."""

    made_seconds: float
    known_seconds: float
    seconds: float
    cpu_seconds: float
    requests: int
    mb: float
    most_mb: float


class CountingEngine(KubernetesEngine):
    """Knows how many apps it has been told of."""

    def __init__(self, access: Kubeconfig, config: KubernetesConfig, *, apps: int) -> None:
        super().__init__(access, config)
        self._wanted_apps = apps
        self._told_apps: set[str] = set()
        self.has_all = asyncio.Event()

    async def apply(self, spec: AppSpec) -> None:
        """See `Engine.apply`."""
        await super().apply(spec)
        self._told_apps.add(spec.app)
        if len(self._told_apps) >= self._wanted_apps:
            self.has_all.set()


async def resync(database_url: str, kubeconfig: Path, *, apps: int, keys: str) -> Resync:
    """Make so many apps at 0 processes, measure, and destroy them."""
    options: dict[str, Any] = {
        "prefix": "bench-many",
        "served": False,
        "encryption_keys": [keys],
        "config": {"is_worker": False},
    }
    async with running_platform(kubeconfig, database_url, run_worker=False, **options) as platform:
        await _make(platform, apps)
        try:
            async with _worker(database_url, kubeconfig, apps=apps, keys=keys) as first:
                pass
            async with _worker(database_url, kubeconfig, apps=apps, keys=keys) as second:
                # Destroyed by it, in the background; what is still there then, the cluster goes on to delete.
                await _destroy(platform)
        finally:
            platform.apps.clear()
    return Resync(first["seconds"], **second)


async def _make(platform: Platform, count: int) -> None:
    gate = asyncio.Semaphore(_AT_ONCE)

    async def make() -> None:
        async with gate:
            app = await platform.create()
            await app.build()
            await app.scale(web=0)

    await asyncio.gather(*(make() for _ in range(count)))


async def _destroy(platform: Platform) -> None:
    for app in platform.apps:
        await app.owner.client.delete(f"/v2/apps/{app.name}/")
    names = {app.name for app in platform.apps}
    end = time.monotonic() + _SECONDS
    while time.monotonic() < end:
        spaces = await platform.objects("namespaces", "-l", "heritage=drycc")
        left = names & {space["metadata"]["name"] for space in spaces["items"]}
        if not left:
            return
        await asyncio.sleep(2.0)
    await platform.run_kubectl("delete", "namespace", "--wait=false", "--ignore-not-found", *left)


@asynccontextmanager
async def _worker(database_url: str, kubeconfig: Path, *, apps: int, keys: str) -> AsyncIterator[dict[str, Any]]:
    """What the worker tells when it has looked at all; it goes on during the block."""
    facts = {"database_url": database_url, "kubeconfig": str(kubeconfig), "apps": apps, "keys": keys}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.engine_resync"),
        env={**os.environ, _ENVIRONMENT: json.dumps(facts)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(_SECONDS):
            line = await process.stdout.readline()
        if not line:
            raise AssertionError("the worker ended before it had looked at every app")
        yield json.loads(line)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _work(facts: dict[str, Any], began: float) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    config = config_for(Kubectl())
    engine = CountingEngine(Kubeconfig(Path(facts["kubeconfig"])), config, apps=facts["apps"])
    settings = settings_for(
        facts["database_url"], encryption_keys=[facts["keys"]], app_domain=APP_DOMAIN, limits_file=LIMITS_FILE
    )
    bus = InProcessBus()
    try:
        await engine.start()
        known = time.time()
        async with open_process(settings, is_worker=True, bus=bus, engine=engine) as context, working(context):
            await engine.has_all.wait()
            told = {
                "known_seconds": known - began,
                "seconds": time.time() - began,
                "cpu_seconds": sum(psutil.Process().cpu_times()[:2]),
                "requests": engine.client.calls.reads + engine.client.calls.writes,
                "mb": psutil.Process().memory_info().rss / 1e6,
                "most_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
            }
            sys.stdout.write(json.dumps(told) + "\n")
            sys.stdout.flush()
            await stopped.wait()
    finally:
        await engine.close()
        await bus.close()


if __name__ == "__main__":
    process = psutil.Process()
    process.cpu_affinity([process.cpu_affinity()[0]])
    uvloop.run(_work(json.loads(os.environ[_ENVIRONMENT]), process.create_time()))
