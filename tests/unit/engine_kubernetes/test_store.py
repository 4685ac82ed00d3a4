"""The objects that the cache keeps: by app, never older than what was known, and who is told of a change."""

from __future__ import annotations

import asyncio
from typing import Any

from controller.engine.kubernetes.kinds import EVENT, NAMESPACE, NODE, PERSISTENT_VOLUME, POD, SECRET, Kind
from controller.engine.kubernetes.store import CLUSTER, Store
from controller.engine.kubernetes.trim import Entry


def entry(name: str, version: int = 1, app: str = "shop", **facts: Any) -> Entry:
    metadata = {"name": name, "namespace": app, "uid": f"uid-{name}", "labels": {"app": app}}
    return Entry({"metadata": metadata, **facts}, version)


class World:
    def __init__(self, most_events: int = 3) -> None:
        self.changed: list[str] = []
        self.store = Store(self.changed.append, most_events=most_events)

    def names(self, kind: Kind, app: str = "shop") -> list[str]:
        return list(self.store.of(kind, app))

    def told(self) -> list[str]:
        told, self.changed[:] = list(self.changed), []
        return told


def test_objects_are_found_by_app() -> None:
    world = World()
    world.store.take(POD, entry("a"))
    world.store.take(POD, entry("b", app="other"))
    world.store.take(NAMESPACE, entry("shop"))
    world.store.take(PERSISTENT_VOLUME, entry("volume"))
    assert world.names(POD) == ["a"]
    assert world.names(PERSISTENT_VOLUME) == ["volume"]
    assert world.store.apps() == {"shop"}
    assert world.told() == ["shop", "other", "shop", "shop"]
    assert world.store.count() == 4


def test_a_machine_belongs_to_no_app_whatever_its_labels_and_wakes_none() -> None:
    world = World()
    world.store.take(NODE, entry("node1"))
    world.store.take(NODE, entry("node1", 2, spec={"unschedulable": True}))
    assert world.names(NODE, CLUSTER) == ["node1"]
    world.store.remove(NODE, CLUSTER, "node1", version=9)
    assert world.names(NODE, CLUSTER) == []
    assert world.told() == []


def test_only_real_changes_are_told() -> None:
    world = World()
    world.store.take(POD, entry("a", 1, status="x"))
    world.store.take(POD, entry("a", 2, status="x"))
    assert world.told() == ["shop"]
    world.store.take(POD, entry("a", 3, status="y"))
    assert world.told() == ["shop"]


def test_what_is_older_is_ignored() -> None:
    world = World()
    world.store.take(POD, entry("a", 5, status="new"))
    world.store.take(POD, entry("a", 4, status="old"))
    world.store.remove(POD, "shop", "a", version=4)
    found = world.store.get(POD, "shop", "a")
    assert found is not None
    assert found.object["status"] == "new"


def test_versions_that_are_no_numbers_are_taken_as_they_come() -> None:
    world = World()
    world.store.take(POD, entry("a", 0, status="1"))
    world.store.take(POD, entry("a", 0, status="2"))
    assert world.told() == ["shop", "shop"]


def test_an_answer_that_comes_after_the_end_brings_nothing_back() -> None:
    world = World()
    world.store.take(POD, entry("a", 5))
    world.store.remove(POD, "shop", "a", version=8)
    world.store.take_written(POD, entry("a", 7))
    assert world.names(POD) == []
    world.store.take_written(POD, entry("a", 9))
    assert world.names(POD) == ["a"]


def test_a_list_replaces_all_but_what_is_newer() -> None:
    world = World()
    for app in ("shop", "other"):
        world.store.take(POD, entry("old", 3, app))
        world.store.take(POD, entry("new", 9, app))
    world.store.replace(POD, None, [entry("listed", 4)], version=5)
    assert world.names(POD) == ["new", "listed"]
    assert world.names(POD, "other") == ["new"]
    world.store.replace(POD, "other", [], version=99)
    assert (world.names(POD), world.names(POD, "other")) == (["new", "listed"], [])


def test_what_we_deleted_is_gone_unless_something_holds_it() -> None:
    world = World()
    world.store.take(SECRET, entry("a"))
    world.store.remove_deleted(SECRET, "shop", "a", uid="another")
    assert world.names(SECRET) == ["a"]
    world.store.remove_deleted(SECRET, "shop", "a", uid="uid-a")
    assert world.names(SECRET) == []
    held = entry("b")
    held.object["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    world.store.take(SECRET, held)
    world.store.remove_deleted(SECRET, "shop", "b", uid="uid-b")
    assert world.names(SECRET) == ["b"]


def test_events_are_kept_for_our_namespaces_only_and_bounded() -> None:
    world = World()
    world.store.take(EVENT, entry("foreign", app="kube-system"))
    assert world.names(EVENT, "kube-system") == []
    world.store.take(NAMESPACE, entry("shop"))
    for number in range(5):
        world.store.take(EVENT, entry(f"e{number}", number + 1))
    world.store.take(EVENT, entry("e2", 9, count=2))
    assert world.names(EVENT) == ["e3", "e4", "e2"]
    world.store.remove(NAMESPACE, "shop", "shop", version=10)
    assert world.names(EVENT) == []


async def test_waiting_ends_with_the_change_or_in_time() -> None:
    world = World()
    world.store.take(NAMESPACE, entry("shop"))

    def is_gone() -> bool:
        return world.store.get(NAMESPACE, "shop", "shop") is None

    assert not await world.store.wait("shop", is_gone, seconds=0.01)
    waiting = asyncio.create_task(world.store.wait("shop", is_gone, seconds=10))
    await asyncio.sleep(0)
    world.store.take(POD, entry("a"))
    await asyncio.sleep(0)
    assert not waiting.done()
    world.store.remove(NAMESPACE, "shop", "shop", version=9)
    assert await waiting
