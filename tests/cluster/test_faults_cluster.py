"""What goes wrong in and around a cluster: it is told, nothing else suffers, and it heals by itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from support.cluster_platform import Platform, PlatformApp, running_platform, until
from support.cluster_rights import Rights
from support.fixtures import MakeDatabase
from support.kubectl import Kubectl
from support.tcp_proxy import TcpProxy, proxied

pytestmark = pytest.mark.timeout(180)
SLEEPER: dict[str, Any] = {"image": "busybox:1", "procfile": {"worker": "sleep 10000"}}
OUTAGE_SECONDS = 30.0


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def line(rights: Rights, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[tuple[TcpProxy, Path]]:
    """The line to the API server, which tests cut."""
    async with proxied(rights.kubeconfig(rights.whole), tmp_path_factory.mktemp("line")) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def platform(
    kubectl: Kubectl, rights: Rights, line: tuple[TcpProxy, Path], make_module_database: MakeDatabase
) -> AsyncIterator[Platform]:
    """A controller with its worker, which reaches the cluster through the line."""
    accounts = {"worker_account": rights.whole, "api_account": rights.whole, "role_prefix": rights.prefix}
    database = await make_module_database("controller")
    async with running_platform(line[1], database, kubectl=kubectl, prefix="hf", config=accounts) as running:
        yield running


@pytest.fixture
def proxy(line: tuple[TcpProxy, Path]) -> TcpProxy:
    """The line to the API server."""
    return line[0]


async def test_an_api_server_away_in_mid_rollout_fails_nothing(platform: Platform, proxy: TcpProxy) -> None:
    """The issue's two minutes are 30 s here, and the rollouts have 10 s or 20 s; the rest is the same."""
    rolling = await platform.deploy(procfile={"web": "sample web"})
    new = await platform.create()
    await new.set(DRYCC_DEPLOY_TIMEOUT="20")
    scaled = await platform.deploy(**SLEEPER)
    good = await rolling.newest_version()
    # It listens after the line was cut and before its time is over: only nobody sees it.
    rolled = await rolling.set("web", START_DELAY="6", DRYCC_DEPLOY_TIMEOUT="10")
    await until(lambda: _has_new_pod(rolling, rolled))
    await proxy.cut()
    end = asyncio.get_running_loop().time() + OUTAGE_SECONDS
    try:
        deployed = await new.build(**SLEEPER)
        await scaled.scale(worker=1)
        configured = await scaled.set(COLOUR="blue")
        assert {pod["release"] for pod in await rolling.pods("web")} <= {f"v{good}", f"v{rolled}"}
        assert await scaled.pods() == []
        while asyncio.get_running_loop().time() < end:
            for app, version in ((rolling, rolled), (new, deployed), (scaled, configured)):
                assert (await app.release(version))["state"] == "created"
            assert await rolling.answers()
            await asyncio.sleep(1)
    finally:
        await proxy.open()
    await asyncio.gather(
        rolling.succeeds(rolled, seconds=30),
        new.succeeds(deployed, seconds=30),
        scaled.succeeds(configured, seconds=30),
    )
    (pod,) = await scaled.runs(worker=1)
    assert pod["release"] == f"v{configured}"
    assert await rolling.answers("/env/START_DELAY") == "6"


async def _has_new_pod(app: PlatformApp, version: int) -> bool:
    return any(pod["release"] == f"v{version}" for pod in await app.pods("web"))
