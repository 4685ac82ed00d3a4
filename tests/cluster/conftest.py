"""What tests on a real cluster share. Without KUBECONFIG they are skipped.

The engine has exactly the rights that `rbac` gives it; kubectl has those of the tests, who may do everything.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from support.cluster_image import image
from support.cluster_platform import Platform, StartPlatform, running_platform
from support.cluster_rights import Rights, granted_rights
from support.cluster_world import World, running_world
from support.fixtures import MakeDatabase
from support.kubectl import Kubectl
from support.tools import locked


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """The cluster of $KUBECONFIG."""
    return Kubectl()


@pytest.fixture(scope="session")
def rights(kubectl: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rights]:
    """The accounts of the platform, with what they may do; `rights.config` goes with their kubeconfigs."""
    with granted_rights(kubectl, tmp_path_factory.mktemp("rights")) as granted:
        yield granted


@pytest.fixture(scope="session")
def sample_image(kubectl: Kubectl) -> str:
    """The image of an app that does as it is told (`support/cluster_images/sample`), by the name that pods pull."""
    return image("sample")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def start_platform(
    kubectl: Kubectl, rights: Rights, sample_image: str, make_module_database: MakeDatabase
) -> StartPlatform:
    """Runs a controller with its worker, under the rights that it has in a cluster, on a database of its own."""

    @asynccontextmanager
    async def start(
        *, kubeconfig: Path | None = None, config: Mapping[str, Any] | None = None, **facts: Any
    ) -> AsyncIterator[Platform]:
        async with running_platform(
            kubeconfig or rights.kubeconfig(rights.whole),
            await make_module_database("controller"),
            kubectl=kubectl,
            image=sample_image,
            config={**rights.settings, **(config or {})},
            **facts,
        ) as platform:
            yield platform

    return start


@pytest.fixture
def make_namespace(kubectl: Kubectl, rights: Rights) -> Iterator[Callable[[], str]]:
    """Makes namespaces, in which the engine has the rights that it has in those of apps; gone after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test-{uuid4().hex[:12]}")
        kubectl("create", "namespace", made[-1])
        kubectl.apply(rights.bindings(made[-1]))
        return made[-1]

    yield make
    if made:
        kubectl("delete", "namespace", "--wait=false", *made)


@pytest.fixture
def kubeconfig(rights: Rights) -> Path:
    """The file that says which cluster, and that we are a process of the platform that does everything."""
    return rights.kubeconfig(rights.whole)


@pytest_asyncio.fixture
async def tcp_port() -> AsyncIterator[int]:
    """The port for TCP that whatever implements the gateways listens on; one test at a time has it."""
    port = int(os.environ.get("TEST_TCP_PORT", "9000"))
    with ExitStack() as stack:
        await asyncio.to_thread(stack.enter_context, locked(f"tcp-{port}"))
        yield port


@pytest.fixture
def all_rights(kubectl: Kubectl) -> Path:
    """The file that says which cluster, and that we may do everything there."""
    return Path(os.environ["KUBECONFIG"])


@pytest_asyncio.fixture
async def world(kubeconfig: Path, rights: Rights) -> AsyncIterator[World]:
    """The engine's connection to the cluster, with a cache that knows everything."""
    async with running_world(kubeconfig, rights=rights) as running:
        yield running


@pytest.fixture
def make_app(kubectl: Kubectl) -> Iterator[Callable[[], str]]:
    """Makes names of apps; their namespaces, if the test makes any, are deleted after it, and nobody waits for it."""
    made: list[str] = []

    def make() -> str:
        made.append(f"k3-{uuid4().hex[:12]}")
        return made[-1]

    yield make
    if made:
        kubectl("delete", "namespace", "--wait=false", "--ignore-not-found", *made)


@pytest.fixture
def app(make_app: Callable[[], str]) -> str:
    """The name of an app that is not there yet."""
    return make_app()
