"""What tests on a real cluster share. Without KUBECONFIG they are skipped."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from support.cluster_world import World, running_world
from support.kubectl import Kubectl


@pytest.fixture(scope="session")
def kubectl() -> Kubectl:
    """The cluster of $KUBECONFIG."""
    return Kubectl()


@pytest.fixture
def make_namespace(kubectl: Kubectl) -> Iterator[Callable[[], str]]:
    """Makes namespaces that are gone after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(f"test-{uuid4().hex[:12]}")
        kubectl("create", "namespace", made[-1])
        return made[-1]

    yield make
    if made:
        kubectl("delete", "namespace", "--wait=false", *made)


@pytest.fixture
def kubeconfig(kubectl: Kubectl) -> Path:
    """The file that says which cluster and who we are."""
    return Path(os.environ["KUBECONFIG"])


@pytest_asyncio.fixture
async def world(kubeconfig: Path) -> AsyncIterator[World]:
    """The engine's connection to the cluster, with a cache that knows everything."""
    async with running_world(kubeconfig) as running:
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
