"""The cache stays right through broken watches and forgotten versions, which no real API server has on demand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from controller.engine.kubernetes.cache import SELECTOR, Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import GATEWAY, NAMESPACE, POD, SECRET, SHOWN
from controller.engine.kubernetes.names import OURS
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.faulty_api_server import Answer, FaultyApiServer, listing, status
from support.logs import captured_log
from support.tools import free_port

GATEWAYS = "/apis/gateway.networking.k8s.io/v1"
HELD = Answer(lines=(), holds=True)


def item(name: str, version: str, app: str = "shop", **facts: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": app, "uid": name, "resourceVersion": version, "labels": {**OURS, "app": app}}
    return {"metadata": metadata, **facts}


def event(type_: str, name: str, version: str, **facts: Any) -> dict[str, Any]:
    return {"type": type_, "object": item(name, version, **facts)}


def gone() -> dict[str, Any]:
    return {"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old", "reason": "Expired"}}


class Cluster:
    """Empty but for pods, whose lists and watches are answered as `pods` says."""

    def __init__(self, lists: list[Answer], watches: list[Answer]) -> None:
        self.lists, self.watches = lists, watches
        self.listed = self.watched = 0
        self.has_gateways = False
        self.gateway_watches: list[Answer] = []
        self.server = FaultyApiServer(self.answer)

    def answer(self, request: web.Request, count: int) -> Answer:
        is_watch = "watch" in request.query
        if request.path.count("/") == 3 and request.path.startswith("/apis/"):
            return self._discovered(request.path)
        if request.path == f"{GATEWAYS}/gateways":
            return self._gateways(is_watch)
        if request.path == "/api/v1/pods":
            return self._next_watch() if is_watch else self._next_list()
        if request.path == "/api/v1/namespaces" and not is_watch:
            return listing({"metadata": {**item("shop", "3")["metadata"], "namespace": None}})
        return HELD if is_watch else listing()

    def _discovered(self, path: str) -> Answer:
        if path != GATEWAYS:
            return status(404, "not found")
        return Answer(200, {"resources": [{"name": "gateways"}] if self.has_gateways else []})

    def _gateways(self, is_watch: bool) -> Answer:
        if not self.has_gateways:
            return Answer(404, b"404 page not found\n")
        if not is_watch:
            return listing()
        return self.gateway_watches.pop(0) if self.gateway_watches else HELD

    def watch_versions(self) -> list[str]:
        """Where the watches of pods went on from."""
        return [
            one.query["resourceVersion"]
            for one in self.server.seen
            if one.path == "/api/v1/pods" and "watch" in one.query
        ]

    def _next_list(self) -> Answer:
        self.listed += 1
        return self.lists[min(self.listed, len(self.lists)) - 1]

    def _next_watch(self) -> Answer:
        self.watched += 1
        return self.watches[self.watched - 1] if self.watched <= len(self.watches) else HELD


@asynccontextmanager
async def cached(cluster: Cluster, directory: Path) -> AsyncIterator[Cache]:
    async with cluster.server.running():
        client = Client(Kubeconfig(cluster.server.kubeconfig(directory)), deadline=5)
        await client.open()
        cache = Cache(client)
        await cache.start()
        try:
            assert await cache.wait_synced(seconds=20)
            yield cache
        finally:
            await cache.close()
            await client.close()


def pods(cache: Cache) -> list[str]:
    return sorted(cache.entries(POD, "shop"))


def has(cache: Cache, *names: str) -> Callable[[], bool]:
    return lambda: pods(cache) == sorted(names)


async def test_a_cut_watch_goes_on_where_it_was(tmp_path: Path) -> None:
    half = b'{"type": "ADDED", "object": {"metadata": {"na'
    cluster = Cluster(
        [listing(item("a", "5"), version="10")],
        [
            Answer(lines=(event("ADDED", "b", "11"), half)),
            Answer(lines=(event("DELETED", "a", "12"), event("ADDED", "c", "13"))),
            Answer(503, b"<html>starting</html>"),
        ],
    )
    async with cached(cluster, tmp_path) as cache:
        await eventually(has(cache, "b", "c"))
        await eventually(lambda: len(cluster.watch_versions()) >= 4)
        assert cluster.watch_versions()[:4] == ["10", "11", "13", "13"]
        assert cluster.listed == 1


async def test_bookmarks_move_the_place_to_go_on_from(tmp_path: Path) -> None:
    bookmark = {"type": "BOOKMARK", "object": {"kind": "Pod", "metadata": {"resourceVersion": "90"}}}
    cluster = Cluster([listing(version="10")], [Answer(lines=(bookmark,))])
    async with cached(cluster, tmp_path) as cache:
        await eventually(lambda: cluster.watch_versions()[:2] == ["10", "90"])
        assert pods(cache) == []
    asked = next(one for one in cluster.server.seen if "watch" in one.query and one.path == "/api/v1/pods")
    assert asked.query["allowWatchBookmarks"] == "true"
    assert asked.query["labelSelector"] == SELECTOR


async def test_a_forgotten_version_means_a_new_list_that_also_tells_what_went(tmp_path: Path) -> None:
    cluster = Cluster(
        [listing(item("a", "5"), item("b", "6"), version="10"), listing(item("b", "6"), version="50")],
        [Answer(lines=(event("ADDED", "c", "11"), gone()))],
    )
    async with cached(cluster, tmp_path) as cache:
        await eventually(has(cache, "b"))
        assert cluster.listed == 2
        await eventually(lambda: cluster.watch_versions() == ["10", "50"])


async def test_a_version_may_also_be_refused_at_once(tmp_path: Path) -> None:
    refused = status(410, "too old resource version", "Expired")
    cluster = Cluster([listing(version="10"), listing(item("a", "5"), version="50")], [refused])
    async with cached(cluster, tmp_path) as cache:
        await eventually(has(cache, "a"))


async def test_lines_that_are_no_events_break_the_watch_only(tmp_path: Path) -> None:
    cluster = Cluster(
        [listing(version="10")],
        [
            Answer(lines=(b"<html>\n",)),
            Answer(lines=(b'{"type": "ADDED"}\n',)),
            Answer(lines=(b'{"type": "ADDED", "object": {"metadata": {}}}\n', b"\n")),
            Answer(lines=(event("ADDED", "a", "11"),)),
        ],
    )
    async with cached(cluster, tmp_path) as cache:
        await eventually(has(cache, "a"))
        assert cluster.listed == 1


async def test_one_event_may_be_megabytes_and_come_in_pieces(tmp_path: Path) -> None:
    big = event("ADDED", "a", "11", status={"message": "x" * 3_000_000})
    cluster = Cluster([listing(version="10")], [Answer(lines=(big, event("ADDED", "b", "12")), holds=True)])
    async with cached(cluster, tmp_path) as cache:
        await eventually(has(cache, "a", "b"))


async def test_a_list_that_fails_is_read_again(tmp_path: Path) -> None:
    broken = Answer(lines=(b'{"items": [',))
    cluster = Cluster([broken, status(500, "etcd"), listing(item("a", "5"))], [])
    async with cached(cluster, tmp_path) as cache:
        assert pods(cache) == ["a"]


async def test_a_watch_that_ends_at_once_is_not_asked_for_in_a_loop(tmp_path: Path) -> None:
    cluster = Cluster([listing(version="10")], [Answer(200, b"")] * 1000)
    async with cached(cluster, tmp_path):
        await asyncio.sleep(1.5)
        assert cluster.watched < 10


async def test_a_server_that_restarts_is_found_again(tmp_path: Path) -> None:
    cluster = Cluster([listing(item("a", "5"), version="10"), listing(item("b", "5"), version="20")], [])
    cluster.server.port = free_port()
    client = Client(Kubeconfig(cluster.server.kubeconfig(tmp_path)), deadline=5)
    cache = Cache(client)
    async with cluster.server.running():
        await client.open()
        await cache.start()
        assert await cache.wait_synced(seconds=20)
        assert pods(cache) == ["a"]
    cluster.watches = [*[HELD] * cluster.watched, status(410, "too old")]
    await asyncio.sleep(0.5)
    assert pods(cache) == ["a"]
    async with cluster.server.running():
        await eventually(has(cache, "b"))
        await cache.close()
        await client.close()


async def test_kinds_that_appear_and_vanish_are_followed(tmp_path: Path) -> None:
    cluster = Cluster([listing()], [])
    async with cluster.server.running():
        client = Client(Kubeconfig(cluster.server.kubeconfig(tmp_path)), deadline=5)
        await client.open()
        cache = Cache(client)
        await cache.start()
        assert await cache.wait_synced(seconds=20)
        assert client.served.version(GATEWAY) is None
        cluster.gateway_watches = [Answer(lines=(event("ADDED", "g", "7"),)), Answer(404, b"404 page not found\n")]
        cluster.has_gateways = True
        cache.look_again()
        await eventually(lambda: list(cache.entries(GATEWAY, "shop")) == ["g"])
        cluster.has_gateways = False
        await eventually(lambda: client.served.version(GATEWAY) is None)
        assert cache.entries(GATEWAY, "shop") == {}
        assert cache.synced()
        await cache.close()
        await client.close()


async def test_kinds_that_appear_wake_every_app(tmp_path: Path) -> None:
    """What could not be written for want of them is written then."""
    cluster = Cluster([listing()], [])
    async with cached(cluster, tmp_path) as cache:
        told = cache.watch()
        cluster.has_gateways = True
        cache.look_again()
        async with asyncio.timeout(10):
            assert await anext(told) == "shop"


async def test_changes_are_told_once_until_heard(tmp_path: Path) -> None:
    lines = tuple(event("MODIFIED", "a", str(number), status=number) for number in range(11, 40))
    cluster = Cluster([listing(version="10")], [Answer(lines=lines, holds=True)])
    async with cached(cluster, tmp_path) as cache:
        await eventually(lambda: [pod["status"] for pod in cache.objects(POD, "shop")] == [39])
        told = cache.watch()
        cache.take_written({"apiVersion": "v1", "kind": "Pod", **item("x", "50")})
        cache.take_written({"apiVersion": "v1", "kind": "Pod", **item("y", "51")})
        assert await anext(told) == "shop"
        waiting = asyncio.ensure_future(anext(told))
        await asyncio.sleep(0.05)
        assert not waiting.done()
        waiting.cancel()


async def test_secrets_are_watched_in_our_namespaces_only(tmp_path: Path) -> None:
    cluster = Cluster([listing()], [])
    async with cached(cluster, tmp_path) as cache:
        assert cache.has_secrets("shop")
        assert cache.synced("shop")
        asked = {one.path for one in cluster.server.seen if one.path.endswith("/secrets")}
        assert asked == {"/api/v1/namespaces/shop/secrets"}
        assert cache.find(NAMESPACE, "shop", "shop") is not None
        assert cache.objects(SECRET, "shop") == ()


class Guarded(Cluster):
    """Nobody may read the Secrets of the one app before `is_granted`."""

    is_granted = False
    is_going = False

    def __init__(self) -> None:
        super().__init__([listing()], [])
        self.asked_for_secrets = 0

    def answer(self, request: web.Request, count: int) -> Answer:
        if request.path == "/api/v1/namespaces" and "watch" not in request.query and self.is_going:
            going = {**item("shop", "3")["metadata"], "namespace": None, "deletionTimestamp": "2026-01-05T10:00:00Z"}
            return listing({"metadata": going})
        if request.path.endswith("/secrets") and not self.is_granted:
            self.asked_for_secrets += 1
            return status(403, 'secrets is forbidden: User "x" cannot list resource "secrets"', "Forbidden")
        return super().answer(request, count)


async def test_a_watch_of_which_nothing_is_heard_is_opened_anew_without_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An API server has no bookmarks for a kind of which there has never been an object."""
    monkeypatch.setattr("shared.kubernetes.client._SILENCE_SECONDS", 0.2)
    cluster = Cluster([listing(item("a", "5"), version="10")], [])
    with captured_log("test") as output:
        async with cached(cluster, tmp_path) as cache:
            await eventually(lambda: len(cluster.watch_versions()) >= 3)
            assert cache.silence() == 0
            assert pods(cache) == ["a"]
    assert set(cluster.watch_versions()) == {"10"}
    assert cluster.listed == 1
    assert "watch_broken" not in output.getvalue()


async def test_rights_that_come_a_moment_later_hold_up_nothing_and_are_no_noise(tmp_path: Path) -> None:
    """Who may read the Secrets of an app is written there by an apply, and an apply waits until the app is known."""
    cluster = Guarded()
    with captured_log("test") as output:
        async with cached(cluster, tmp_path) as cache:
            assert cache.synced("shop")
            assert not cache.has_secrets("shop")
            await eventually(lambda: cluster.asked_for_secrets >= 3)
            cluster.is_granted = True
            await eventually(lambda: cache.has_secrets("shop"))
            assert cache.synced("shop")
    assert "watch_broken" not in output.getvalue()


async def test_rights_that_do_not_come_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("controller.engine.kubernetes.watcher._RIGHTS_SECONDS", 0.0)
    cluster = Guarded()
    with captured_log("test") as output:
        async with cached(cluster, tmp_path):
            await eventually(lambda: cluster.asked_for_secrets >= 3)
    told = [line for line in output.getvalue().splitlines() if "watch_broken" in line]
    assert len(told) == 1
    assert '"kind": "Secret"' in told[0]
    assert "cannot list resource" in told[0]


async def test_rights_that_go_with_their_namespace_are_no_noise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("controller.engine.kubernetes.watcher._RIGHTS_SECONDS", 0.0)
    cluster = Guarded()
    cluster.is_going = True
    with captured_log("test") as output:
        async with cached(cluster, tmp_path) as cache:
            await eventually(lambda: cluster.asked_for_secrets >= 3)
            assert cache.synced("shop")
    assert "watch_broken" not in output.getvalue()


async def test_a_process_of_the_api_alone_asks_for_no_secrets(tmp_path: Path) -> None:
    cluster = Cluster([listing(item("a", "5"))], [])
    async with cluster.server.running():
        client = Client(Kubeconfig(cluster.server.kubeconfig(tmp_path)), deadline=5)
        await client.open()
        cache = Cache(client, kinds=SHOWN)
        await cache.start()
        try:
            assert await cache.wait_synced(seconds=20)
            assert cache.synced("shop")
            assert pods(cache) == ["a"]
            asked = {one.path.rpartition("/")[2] for one in cluster.server.seen if one.query.get("limit")}
            assert asked == {kind.plural for kind in SHOWN if kind.addon is None}
        finally:
            await cache.close()
            await client.close()
