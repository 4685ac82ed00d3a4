"""`make bench-engine`: how fast the Kubernetes engine takes apps to where they should be, on a cluster (KUBECONFIG).

The whole controller runs in this process: API, worker, and PostgreSQL beside it. Apps are a web and a worker that
listens at once. What is made is destroyed in the end; every wait has an end.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import uvloop
from cryptography.fernet import Fernet

from bench.engine_resync import resync
from controller.background.reconcile import Reconciler
from controller.domain.spec import AppSpec
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.engine import KubernetesEngine
from controller.engine.kubernetes.kinds import DEPLOYMENT, NAMESPACE, SERVICE, Kind
from controller.engine.kubernetes.names import deployment
from shared.db import migrate
from shared.kubernetes.errors import ClusterNotFoundError
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import Kubeconfig
from standalone.postgres import EmbeddedPostgres
from support.cluster_platform import Platform, PlatformApp, running_platform, until
from support.cluster_rights import granted_rights
from support.kubectl import Kubectl

ROUNDS: Final = 10
BURST: Final = 10
APPS: Final = 500
NOOPS: Final = 50
DESTROYED: Final = 3
_PAUSE_SECONDS: Final = 0.01
_SECONDS: Final = 120.0
_PREFIX: Final = "bench"


@dataclass(frozen=True)
class Figure:
    """What was measured: `target` is the most that it should be; None: it is told for its own sake."""

    name: str
    value: float
    unit: str
    target: float | None = None
    note: str = ""

    @property
    def told(self) -> str:
        """One line about it."""
        target = "" if self.target is None else f" (target {self.target:g} {self.unit}; {os.cpu_count()} cores)"
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: {self.value:.3g} {self.unit}{target}{note}"


@dataclass(frozen=True)
class Written:
    """An apply that wrote something has returned."""

    app: str
    release: int
    at: float


class TimedEngine(KubernetesEngine):
    """Remembers when it had written what."""

    def __init__(self, access: Kubeconfig, config: KubernetesConfig) -> None:
        super().__init__(access, config)
        self.written: list[Written] = []

    async def apply(self, spec: AppSpec) -> None:
        """See `Engine.apply`."""
        before = self.client.calls.writes
        await super().apply(spec)
        if self.client.calls.writes > before:
            release = max((process.release for process in spec.processes), default=0)
            self.written.append(Written(spec.app, release, time.perf_counter()))

    @property
    def requests(self) -> int:
        """What was sent so far, without watches."""
        return self.client.calls.reads + self.client.calls.writes


@dataclass(frozen=True)
class Bench:
    """The controller, and an eye on the cluster that is not the engine's."""

    platform: Platform
    engine: TimedEngine
    eye: Client
    quick: bool

    async def app(self) -> PlatformApp:
        """An app with one web and one worker, all of it ready."""
        app = await self.platform.deploy()
        await app.scale(worker=1)
        await app.runs(web=1, worker=1)
        return app


def main() -> None:
    """Measure and print; `--json` for machines, `--quick` for a look (fewer rounds, 50 apps instead of 500)."""
    arguments = set(sys.argv[1:])
    if unknown := arguments - {"--json", "--quick"}:
        sys.exit(f"unknown argument {unknown.pop()}; there are --json and --quick")
    if not os.environ.get("KUBECONFIG"):
        sys.exit("KUBECONFIG is not set: it names the cluster to measure on")
    uvloop.run(_main(as_json="--json" in arguments, quick="--quick" in arguments))


async def _main(*, as_json: bool, quick: bool) -> None:
    figures: list[Figure] = []

    def say(text: str) -> None:
        stream = sys.stderr if as_json else sys.stdout
        stream.write(f"{text}\n")
        stream.flush()

    async def take(measure: Awaitable[Iterable[Figure]]) -> None:
        for figure in await measure:
            figures.append(figure)
            say(figure.told)

    say("load of the machine before the start: {:.1f}, {:.1f}, {:.1f}".format(*os.getloadavg()))
    async with _databases() as make_database:
        async with _running(await make_database(), quick=quick) as bench:
            for part in (_first_releases, _config_changes, _noop, _drift, _burst):
                await take(part(bench))
            await take(_destruction(bench, await make_database()))
        say(f"making {50 if quick else APPS} apps without processes")
        await take(_resync(await make_database(), apps=50 if quick else APPS))
    if as_json:
        sys.stdout.write(json.dumps({"cores": os.cpu_count(), "figures": [asdict(one) for one in figures]}) + "\n")


async def _first_releases(bench: Bench) -> list[Figure]:
    """Of an app that is not in the cluster yet: its namespace and the rights in there are a part of it.

    One goes before them that does not count: the first of a process takes 0.2 s more.
    """
    await bench.platform.deploy()
    seconds, ready, done = [], [], []
    for _ in range(2 if bench.quick else 5):
        app = await bench.platform.create()
        await _is_quiet(bench)
        began = time.perf_counter()
        version, made = await app.build(), time.perf_counter()
        seconds.append(await _wrote(bench, app, version) - made)
        running, settled = await asyncio.gather(_is_ready(bench, app, version, web=1), _has_settled(app, version))
        ready.append(running - began)
        done.append(settled - running)
        await app.scale(web=0)
    name = "first release of an app"
    return [
        Figure(f"{name}: all objects applied", _median_ms(seconds), "ms", 150, _range_ms(seconds)),
        Figure(f"{name}: pods ready", statistics.median(ready), "s", note=f"worst {max(ready):.2f} s"),
        Figure(f"{name}: succeed after that", _median_ms(done), "ms", 300, _range_ms(done)),
    ]


async def _config_changes(bench: Bench) -> list[Figure]:
    """Objects are counted from the answer to the request, when there is a row; pods from the request itself.

    A worker is asked by no probe: it counts as ready when it has run for some seconds, so that one which ends at once
    does not. Figures of the web alone are those of an app that listens at once.
    """
    both, alone = await bench.app(), await bench.platform.deploy()
    figures = await _changes("config change of web and worker", bench, both, web=1, worker=1)
    return figures + await _changes("config change of web", bench, alone, web=1)


async def _changes(name: str, bench: Bench, app: PlatformApp, **counts: int) -> list[Figure]:
    applied, ready, done, sent = [], [], [], []
    for number in range(3 if bench.quick else ROUNDS):
        await app.runs(**counts)
        await _is_quiet(bench)
        requests, began = bench.engine.requests, time.perf_counter()
        version, made = await app.set(ROUND=str(number)), time.perf_counter()
        applied.append(await _wrote(bench, app, version) - made)
        running, settled = await asyncio.gather(_is_ready(bench, app, version, **counts), _has_settled(app, version))
        ready.append(running - began)
        done.append(settled - running)
        await app.runs(**counts)
        sent.append(bench.engine.requests - requests)
    return [
        Figure(f"{name}: all objects applied", _median_ms(applied), "ms", 150, _range_ms(applied)),
        Figure(f"{name}: new pods ready", statistics.median(ready), "s", 3, f"worst {max(ready):.2f} s"),
        Figure(f"{name}: succeed after that", _median_ms(done), "ms", 300, _range_ms(done)),
        Figure(f"{name}: requests to the API server", statistics.median(sent), "", 10, f"most {max(sent)}"),
    ]


async def _noop(bench: Bench) -> list[Figure]:
    """A pass of the reconciler over an app that is as it should be."""
    app = await bench.app()
    await _is_quiet(bench)
    context = bench.platform.api.context
    reconciler = Reconciler(
        database=context.database,
        engine=context.engine,
        clock=context.clock,
        make_uow=context.unit_of_work.around,
        policy=context.unit_of_work.policy,
    )
    calls, seconds = bench.engine.client.calls, []
    await reconciler.reconcile(app.name)
    reads, writes = calls.reads, calls.writes
    for _ in range(NOOPS):
        began = time.perf_counter()
        await reconciler.reconcile(app.name)
        seconds.append(time.perf_counter() - began)
    return [
        Figure("no-op reconcile", _median_ms(seconds), "ms", 30, _range_ms(seconds)),
        Figure("no-op reconcile: reads", (calls.reads - reads) / NOOPS, "", 2),
        Figure("no-op reconcile: writes", (calls.writes - writes) / NOOPS, "", 0),
    ]


async def _drift(bench: Bench) -> list[Figure]:
    """What somebody else does to an app's objects is undone."""
    app = await bench.app()
    web = deployment(app.name, "web")
    service, original = await bench.eye.get(SERVICE, app.name, app.name), await bench.eye.get(DEPLOYMENT, web, app.name)
    template = original["spec"]["template"]["spec"]["containers"]
    deleted, edited = [], []
    for _ in range(2 if bench.quick else 5):
        await bench.eye.delete(SERVICE, app.name, app.name)
        deleted.append(await _seconds_until(lambda: _is_there(bench.eye, SERVICE, app.name, app.name)))
        operations = [{"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": "busybox:1"}]
        await bench.eye.patch(DEPLOYMENT, web, app.name, operations=operations, manager="somebody")

        async def is_back() -> bool:
            found = await bench.eye.get(DEPLOYMENT, web, app.name)
            return bool(found["spec"]["template"]["spec"]["containers"] == template)

        edited.append(await _seconds_until(is_back))
    again = await bench.eye.get(SERVICE, app.name, app.name)
    is_same = again["spec"]["selector"] == service["spec"]["selector"]
    return [
        Figure("drift: a deleted Service is back", max(deleted), "s", 5, "the worst" if is_same else "but it differs"),
        Figure("drift: an edited Deployment is back", max(edited), "s", 5, "the worst"),
    ]


async def _burst(bench: Bench) -> list[Figure]:
    """Config changes one after another, without waiting for what comes of them."""
    app = await bench.app()
    first, began = await app.newest_version(), time.perf_counter()
    versions = [await app.set(BURST=str(number)) for number in range(BURST)]
    accepted = time.perf_counter() - began
    await app.succeeds(versions[-1])
    succeeded = time.perf_counter() - began

    async def others_go() -> bool:
        others = [pod for pod in await app.pods() if pod["release"] != f"v{versions[-1]}"]
        return all(pod["state"] in ("terminating", "down", "crashed") for pod in others)

    await until(others_go, seconds=_SECONDS)
    going = time.perf_counter() - began
    pods = await app.runs(web=1, worker=1)
    gone = time.perf_counter() - began
    releases = len(set(versions)) if versions[0] == first + 1 else 0
    others = [pod["name"] for pod in pods if pod["release"] != f"v{versions[-1]}"]
    return [
        Figure(f"{BURST} config changes at once: releases", releases, "", note=f"accepted in {accepted:.2f} s"),
        Figure(f"{BURST} config changes at once: the last one succeeds", succeeded, "s"),
        Figure(f"{BURST} config changes at once: pods of all others told to go", going, "s"),
        Figure(f"{BURST} config changes at once: and gone", gone, "s", note=f"{len(others)} left; grace 30 s"),
    ]


async def _destruction(bench: Bench, database_url: str) -> list[Figure]:
    """Destroyed by us, and like ones whose namespace kubectl deletes when nobody looks after them any more."""
    count = 1 if bench.quick else DESTROYED
    async with _running(database_url, quick=bench.quick) as other:
        likes = await asyncio.gather(*(other.app() for _ in range(count)))
        other.platform.apps.clear()
    by_kubectl = await asyncio.gather(
        *(
            _gone_after(bench, app, bench.platform.run_kubectl("delete", "namespace", "--wait=false", app.name))
            for app in likes
        )
    )
    apps = await asyncio.gather(*(bench.app() for _ in range(count)))
    by_us = await asyncio.gather(
        *(_gone_after(bench, app, app.owner.client.delete(f"/v2/apps/{app.name}/")) for app in apps)
    )
    ours, theirs = statistics.median(by_us), statistics.median(by_kubectl)
    told = f"{count} at once: kubectl delete namespace {theirs:.1f} s, worst {max(by_kubectl):.1f} s"
    return [
        Figure("destroy until the namespace is gone", ours, "s", round(theirs + 1, 1), told),
        Figure("destroy: the worst", max(by_us), "s"),
    ]


async def _gone_after(bench: Bench, app: PlatformApp, deletion: Awaitable[object]) -> float:
    uid = (await bench.eye.get(NAMESPACE, app.name))["metadata"]["uid"]
    began = time.perf_counter()
    await deletion

    async def is_gone() -> bool:
        try:
            return bool((await bench.eye.get(NAMESPACE, app.name))["metadata"]["uid"] != uid)
        except ClusterNotFoundError:
            return True

    await until(is_gone, seconds=_SECONDS, pause=0.1)
    app.is_gone = True
    return time.perf_counter() - began


async def _resync(database_url: str, *, apps: int) -> list[Figure]:
    """A worker on one core, in a process of its own, that finds all apps as they should be."""
    result = await resync(database_url, Path(os.environ["KUBECONFIG"]), apps=apps, keys=Fernet.generate_key().decode())
    target = 60 if apps == APPS else None  # the start takes its time for few as well
    cpu, known = result.cpu_seconds, result.known_seconds
    told = f"{known:.1f} s of it until it knew the cluster; {cpu:.1f} s of CPU, {result.requests} requests"
    return [
        Figure(f"{apps} apps made from nothing", result.made_seconds, "s"),
        Figure(f"{apps} apps resync, start included", result.seconds, "s", target, told),
        Figure(f"{apps} apps resync: memory at most", result.most_mb, "MB", 300, f"now {result.mb:.0f} MB"),
    ]


async def _wrote(bench: Bench, app: PlatformApp, version: int) -> float:
    """When the first apply of that release was through; what comes later is a rollout's own progress."""

    async def found() -> float:
        return next((one.at for one in bench.engine.written if (one.app, one.release) == (app.name, version)), 0.0)

    return await until(found, seconds=_SECONDS, pause=_PAUSE_SECONDS)


async def _is_ready(bench: Bench, app: PlatformApp, version: int, **counts: int) -> float:
    """When so many pods of that release were ready, and all of them counted as available."""

    async def ask() -> bool:
        seen = (await bench.engine.observe(app.name)).instances
        ready = [one.ptype for one in seen if one.release == version and one.ready]
        return all(ready.count(ptype) >= count for ptype, count in counts.items())

    await until(ask, seconds=_SECONDS, pause=_PAUSE_SECONDS)
    await asyncio.gather(*(_is_available(bench, app, ptype) for ptype in counts))
    return time.perf_counter()


async def _is_available(bench: Bench, app: PlatformApp, ptype: str) -> None:
    """All pods of the Deployment's last template count, and no pod is waited for."""
    name = deployment(app.name, ptype)
    listing = await bench.eye.list(DEPLOYMENT, app.name)
    changes = bench.eye.watch(
        DEPLOYMENT, app.name, resource_version=listing.resource_version, timeout_seconds=int(_SECONDS)
    )
    if any(_counts_all(found) for found in listing.items if found["metadata"]["name"] == name):
        return
    async with asyncio.timeout(_SECONDS), aclosing(changes):
        async for change in changes:
            if change.object["metadata"].get("name") == name and _counts_all(change.object):
                return


def _counts_all(found: Manifest) -> bool:
    status = found.get("status") or {}
    is_new = status.get("observedGeneration") == found["metadata"].get("generation")
    has_all = status.get("updatedReplicas", 0) >= found["spec"]["replicas"]
    return is_new and has_all and not status.get("unavailableReplicas")


async def _has_settled(app: PlatformApp, version: int) -> float:
    release = await app.settled(version, seconds=_SECONDS, pause=_PAUSE_SECONDS * 2)
    if release["state"] != "succeed":
        sys.exit(f"a release failed that should not: {release}")
    return time.perf_counter()


async def _is_quiet(bench: Bench) -> None:
    """Nothing is sent any more for a second."""
    before = -1
    async with asyncio.timeout(_SECONDS):
        while before != bench.engine.requests:
            before = bench.engine.requests
            await asyncio.sleep(1.0)


async def _is_there(eye: Client, kind: Kind, name: str, namespace: str) -> bool:
    try:
        return not (await eye.get(kind, name, namespace))["metadata"].get("deletionTimestamp")
    except ClusterNotFoundError:
        return False


async def _seconds_until(ask: Callable[[], Awaitable[bool]]) -> float:
    began = time.perf_counter()
    await until(ask, seconds=_SECONDS, pause=_PAUSE_SECONDS)
    return time.perf_counter() - began


def _median_ms(seconds: Iterable[float]) -> float:
    return statistics.median(seconds) * 1000


def _range_ms(seconds: Iterable[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[0] * 1000:.0f} to {ordered[-1] * 1000:.0f} ms"


@asynccontextmanager
async def _running(database_url: str, *, quick: bool) -> AsyncIterator[Bench]:
    made: list[TimedEngine] = []

    def make(access: Kubeconfig, config: KubernetesConfig) -> TimedEngine:
        made.append(TimedEngine(access, config))
        return made[-1]

    kubectl = Kubectl()
    eye = Client(Kubeconfig(Path(os.environ["KUBECONFIG"])))
    async with AsyncExitStack() as stack:
        await eye.open()
        stack.push_async_callback(eye.close)
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        rights = stack.enter_context(granted_rights(kubectl, directory))
        running = await stack.enter_async_context(
            running_platform(
                rights.kubeconfig(rights.whole),
                database_url,
                kubectl=kubectl,
                make_engine=make,
                config=rights.settings,
                prefix=_PREFIX,
                served=False,
            )
        )
        yield Bench(running, made[-1], eye, quick)


@asynccontextmanager
async def _databases() -> AsyncIterator[Callable[[], Awaitable[str]]]:
    with tempfile.TemporaryDirectory(prefix="bench-") as directory:
        base = Path(directory)
        server = EmbeddedPostgres(base / "data", socket_dir=base / "run", log_file=base / "log", durable=True)
        await server.start()
        numbers: Any = iter(range(100))

        async def make() -> str:
            url = server.url(f"controller_{next(numbers)}")
            await migrate(url, "controller")
            return url

        try:
            yield make
        finally:
            await server.stop()


if __name__ == "__main__":
    main()
