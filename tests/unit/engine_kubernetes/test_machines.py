"""Whether a cluster has a machine for a process with tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.machines import has_machine
from shared.kubernetes.transport import Kubeconfig


@pytest.fixture
def cache() -> Cache:
    """One that is never started: what it knows it is told by writes."""
    return Cache(Client(Kubeconfig(Path("none"))))


def know(cache: Cache, name: str, *, ready: str = "True", spec: dict[str, Any] | None = None, **labels: str) -> None:
    conditions = [{"type": "Ready", "status": ready}]
    metadata = {"name": name, "uid": name, "resourceVersion": "1", "labels": labels}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec or {}}
    cache.take_written({**node, "status": {"conditions": conditions}})


def test_one_machine_must_have_all_labels(cache: Cache) -> None:
    know(cache, "a", disk="ssd", zone="one")
    know(cache, "b", gpu="yes")
    assert has_machine(cache, {"disk": "ssd", "zone": "one"})
    assert has_machine(cache, {"gpu": "yes"})
    assert has_machine(cache, {})
    assert not has_machine(cache, {"disk": "ssd", "gpu": "yes"})
    assert not has_machine(cache, {"disk": "hdd"})
    assert not has_machine(cache, {"": ""})


@pytest.mark.parametrize(
    ("ready", "spec"), [("False", {}), ("Unknown", {}), ("True", {"unschedulable": True})], ids=str
)
def test_a_machine_that_takes_no_pods_does_not_count(cache: Cache, ready: str, spec: dict[str, Any]) -> None:
    know(cache, "other")
    know(cache, "a", ready=ready, spec=spec, disk="ssd")
    assert not has_machine(cache, {"disk": "ssd"})


def test_as_long_as_no_machine_is_known_nothing_is_refused(cache: Cache) -> None:
    assert has_machine(cache, {"disk": "ssd"})


def test_a_machine_belongs_to_no_app(cache: Cache) -> None:
    know(cache, "a", app="shop")
    assert cache.apps() == frozenset()
    assert has_machine(cache, {"app": "shop"})
