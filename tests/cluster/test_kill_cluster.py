"""A worker that is killed at any point of a rollout or a removal: who comes after it, and knows nothing, ends it well.

The reconciler is the real one on real tables and the real cluster. There are 70 to 260 awaits on the way of a
rollout: each app of a round is killed at another one of them, evenly spread. Then the process is gone for all of them,
and a new one does the rest. `KILLS=every` has as many apps as there are awaits, which takes a quarter of an hour.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

import pytest
from cryptography.fernet import Fernet

from controller.domain.plans_file import read_catalog
from controller.domain.policy import Policy
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.engine import KubernetesEngine
from controller.engine.port import StillThereError
from controller.repositories.cipher import Cipher
from controller.services.apps import Apps
from shared.clock import SystemClock
from shared.db import Database
from shared.events import AppDeleted, ReleaseDeployed
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.cluster_platform import LIMITS_FILE, config_for
from support.cluster_rights import Rights
from support.controller_core import ANA, POLICY, Core
from support.fixtures import MakeDatabase
from support.killing import KilledAt
from support.kubectl import Kubectl

EVERY: Final = os.environ.get("KILLS") == "every"
pytestmark = pytest.mark.timeout(3600 if EVERY else 300)
APPS: Final = 400 if EVERY else 13
"""The first one is not killed: it tells how many awaits there are."""
WITH_JOBS: Final = 400 if EVERY else 7
"""Of these a release phase is seen as well, which takes a pod."""
AT_ONCE: Final = 4
SECONDS: Final = 900.0 if EVERY else 90.0
BUILD: Final[dict[str, Any]] = {"image": "busybox:1", "stack": "container", "procfile": {"worker": "sleep 10000"}}
"""No pod: a process type other than `web` begins at 0."""
PIPELINE: Final = {
    "pipeline": {
        "worker.yaml": {
            "kind": "pipeline",
            "ptype": "worker",
            "run": {"command": ["echo", "migrated"]},
            "deploy": {"command": ["sleep", "10000"]},
        }
    }
}

Work = Callable[[Core[KubernetesEngine], str], Coroutine[Any, Any, None]]


@dataclass
class Processes:
    """Starts one process of the platform after the other, on the same tables."""

    database: Database
    cipher: Cipher
    policy: Policy
    access: Kubeconfig
    config: KubernetesConfig

    @asynccontextmanager
    async def started(self) -> AsyncIterator[Core[KubernetesEngine]]:
        """One that remembers nothing."""
        clock = SystemClock()
        engine = KubernetesEngine(self.access, self.config)
        await engine.start()
        try:
            yield Core(self.database, engine, clock, self.cipher, self.policy)
        finally:
            await engine.close()

    async def killed(self, apps: Sequence[str], work: Work) -> int:
        """Work on each app in a process that is killed meanwhile; how many were really killed."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(core: Core[KubernetesEngine], name: str, number: int) -> bool:
            async with slots:
                killed = KilledAt(work(core, name), number)
                await killed
                return killed.reached

        async with self.started() as core:
            whole = KilledAt(work(core, apps[0]), 0)
            await whole
            assert not EVERY or whole.waits < len(apps), f"{whole.waits} awaits: APPS is too low"
            step = whole.waits / len(apps[1:])
            numbers = [1 + int(step * index) for index in range(len(apps[1:]))]
            return sum(await asyncio.gather(*(one(core, *each) for each in zip(apps[1:], numbers, strict=True))))

    async def takes_over(self, is_done: Callable[[Core[KubernetesEngine]], Awaitable[bool]]) -> None:
        """A new process works until that is so."""
        async with self.started() as core:
            task = asyncio.create_task(core.reconciler().run())
            try:
                await eventually(lambda: is_done(core), timeout=SECONDS)
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)


async def test_killed_at_any_point_a_rollout_and_a_removal_end_well(
    rights: Rights, kubectl: Kubectl, make_database: MakeDatabase
) -> None:
    database = Database(await make_database("controller"))
    policy = Policy(**{**vars(POLICY), "catalog": read_catalog(LIMITS_FILE)})
    cipher = Cipher([Fernet.generate_key().decode()])
    access, config = Kubeconfig(rights.kubeconfig(rights.whole)), rights.config(config_for(kubectl))
    processes = Processes(database, cipher, policy, access, config)
    apps = [f"hf-kill-{uuid4().hex[:6]}-{number}" for number in range(APPS)]
    try:
        async with processes.started() as core:
            await core.add_users()
            for name in apps:
                await core.app(name)
                await core.build(name, **BUILD)
        await _deployed(processes, kubectl, apps, version=2)
        async with processes.started() as core:
            for name in apps:
                await core.set(name, COLOUR="blue")
        await _deployed(processes, kubectl, apps, version=3)
        async with processes.started() as core:
            for name in apps[:WITH_JOBS]:
                await core.build(name, **BUILD, dryccfile=PIPELINE)
        await _deployed(processes, kubectl, apps[:WITH_JOBS], version=4, jobs=1)
        async with processes.started() as core, core.work() as uow:
            for name in apps:
                await Apps(uow).delete(name, actor=ANA)
        await _removed(processes, kubectl, apps)
    finally:
        await database.close()
        for begin in range(0, APPS, 100):  # kubectl asks for five a second
            some = apps[begin : begin + 100]
            await asyncio.to_thread(kubectl, "delete", "namespace", "--ignore-not-found", "--wait=false", *some)


async def _deployed(
    processes: Processes, kubectl: Kubectl, apps: Sequence[str], *, version: int, jobs: int = 0
) -> None:
    """The rollout of the release ends well in every app, once, and what is there is what should be."""

    async def roll(core: Core[KubernetesEngine], name: str) -> None:
        changes = core.engine.watch()
        while True:
            await core.reconcile(name)
            if (await core.release(version, name)).state != "created":
                return
            async for changed in changes:
                if changed == name:
                    break

    async def is_done(core: Core[KubernetesEngine]) -> bool:
        releases = [await core.release(version, name) for name in apps]
        states = Counter(release.state for release in releases)
        assert set(states) <= {"created", "succeed"}, [one.failure for one in releases if one.failed]
        return states["succeed"] == len(apps)

    assert await processes.killed(apps, roll) >= len(apps) // 2
    await processes.takes_over(is_done)
    async with processes.started() as core:
        events = [event for event in await core.events("release.deployed") if isinstance(event, ReleaseDeployed)]
        told = Counter(event.app for event in events if event.version == version)
        assert told == dict.fromkeys(apps, 1)
        assert await core.events("release.failed") == []
        writes = core.engine.client.calls.writes
        for name in apps:
            await core.reconcile(name)
        assert core.engine.client.calls.writes == writes
    selector = f"app in ({','.join(apps)})"
    found = await asyncio.to_thread(kubectl.get, "deployments,jobs", "--all-namespaces", "-l", selector)
    kinds = Counter(one["kind"] for one in found["items"])
    assert kinds == Counter({"Deployment": len(apps)} | ({"Job": jobs * len(apps)} if jobs else {}))
    deployments = [one for one in found["items"] if one["kind"] == "Deployment"]
    assert all(f'"v{version}"' in json.dumps(one["spec"]["template"]) for one in deployments)


async def _removed(processes: Processes, kubectl: Kubectl, apps: Sequence[str]) -> None:
    """Every app goes, once, with all that it had."""

    async def remove(core: Core[KubernetesEngine], name: str) -> None:
        with suppress(StillThereError):
            await core.reconcile(name)

    async def gone(core: Core[KubernetesEngine]) -> Counter[str]:
        return Counter(event.app for event in await core.events("app.deleted") if isinstance(event, AppDeleted))

    async def is_done(core: Core[KubernetesEngine]) -> bool:
        return set(await gone(core)) == set(apps)

    assert await processes.killed(apps, remove) >= len(apps) // 2
    await processes.takes_over(is_done)
    async with processes.started() as core:
        assert await gone(core) == dict.fromkeys(apps, 1)
    left = await asyncio.to_thread(kubectl.get, "namespaces")
    assert not {one["metadata"]["name"] for one in left["items"]} & set(apps)
