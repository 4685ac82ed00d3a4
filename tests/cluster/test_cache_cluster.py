"""The cache on a real API server: what is ours is known at once and by app, whatever happens to connections."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from controller.engine.kubernetes import names
from controller.engine.kubernetes.kinds import DEPLOYMENT, EVENT, NAMESPACE, POD, REPLICA_SET, SECRET, SERVICE
from shared.testing.wait import eventually
from support.cluster_rights import Rights
from support.cluster_world import World, deployment, namespace, running_world, secret, service
from support.faulty_api_server import write_kubeconfig
from support.kubectl import Kubectl

A = base64.b64encode(b"hunter2").decode()


async def test_what_is_ours_is_known_by_app(world: World, app: str, kubectl: Kubectl) -> None:
    told = world.cache.watch()
    await asyncio.to_thread(
        kubectl.apply, world.with_rights(app, [namespace(app), service(app, app), deployment(app, replicas=1)])
    )
    async with asyncio.timeout(10):
        while await anext(told) != app:
            pass
    await eventually(lambda: world.cache.find(POD, app, _pod(world, app)), timeout=30)
    assert app in world.cache.apps()
    assert [one["metadata"]["name"] for one in world.cache.objects(DEPLOYMENT, app)] == [f"{app}-web"]
    assert len(world.cache.entries(REPLICA_SET, app)) == 1
    pod = world.cache.objects(POD, app)[0]
    assert pod["metadata"]["labels"]["version"] == "v1"
    assert "managedFields" not in pod["metadata"]
    await eventually(lambda: world.cache.entries(EVENT, app))
    assert world.cache.entries(EVENT, "kube-system") == {}
    assert world.cache.synced(app)
    await asyncio.to_thread(kubectl, "delete", "service", app, "-n", app)
    await eventually(lambda: world.cache.find(SERVICE, app, app) is None)


def _pod(world: World, app: str) -> str:
    return next(iter(world.cache.entries(POD, app)), "")


async def test_foreign_objects_are_not_known(world: World, app: str, kubectl: Kubectl) -> None:
    foreign = service(app, "foreign")
    foreign["metadata"]["labels"] = {"app": app, "heritage": "drycc"}
    await asyncio.to_thread(kubectl.apply, world.with_rights(app, [namespace(app), foreign, service(app, "ours")]))
    await world.seen(SERVICE, app, "ours")
    assert list(world.cache.entries(SERVICE, app)) == ["ours"]
    await asyncio.to_thread(kubectl, "label", "service", "ours", "-n", app, "heritage-")
    await eventually(lambda: world.cache.entries(SERVICE, app) == {})


async def test_weakness_50_of_secrets_no_value_is_known(world: World, app: str, kubectl: Kubectl) -> None:
    await asyncio.to_thread(kubectl.apply, world.with_rights(app, [namespace(app), secret(app, "s", A=A)]))
    seen = await world.seen(SECRET, app, "s")
    assert A not in json.dumps(seen)
    assert "hunter2" not in json.dumps(seen)
    assert set(seen["digests"]) == {"A"}


async def test_an_app_that_goes_is_forgotten(world: World, app: str, kubectl: Kubectl) -> None:
    await asyncio.to_thread(
        kubectl.apply, world.with_rights(app, [namespace(app), secret(app, "s", A=A), service(app, app)])
    )
    await world.seen(SECRET, app, "s")
    await asyncio.to_thread(kubectl, "delete", "namespace", app)
    await eventually(lambda: app not in world.cache.apps(), timeout=30)
    await eventually(lambda: not world.cache.entries(SECRET, app) and not world.cache.entries(SERVICE, app))
    assert not world.cache.has_secrets(app)


@dataclass
class Proxy:
    """Stands between us and the API server; its connections can be cut."""

    host: str
    port: int
    listening_on: int = 0
    is_open: bool = True
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.listening_on = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            self.cut()
            server.close()
            await server.wait_closed()

    def cut(self) -> int:
        """Break every connection; gives how many there were."""
        broken = list(self.writers)
        for writer in broken:
            writer.transport.abort()
        return len(broken)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        onward_reader, onward = await asyncio.open_connection(self.host, self.port)
        if not self.is_open:
            writer.transport.abort()
            onward.transport.abort()
            return
        self.writers |= {writer, onward}
        try:
            await asyncio.gather(_copy(reader, onward), _copy(onward_reader, writer))
        finally:
            for one in (writer, onward):
                one.transport.abort()
                self.writers.discard(one)


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.transport.abort()


async def test_cut_connections_lose_nothing(
    make_app: Callable[[], str], kubectl: Kubectl, kubeconfig: Path, rights: Rights, tmp_path: Path
) -> None:
    app = make_app()
    view = json.loads(await asyncio.to_thread(kubeconfig.read_text))
    cluster, user = view["clusters"][0]["cluster"], view["users"][0]["user"]
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    async with Proxy(host, int(port or 443)).running() as proxy:
        through = {**cluster, "tls-server-name": host, "server": f"https://127.0.0.1:{proxy.listening_on}"}
        path = write_kubeconfig(tmp_path / "kubeconfig", through["server"], cluster=through, **user)
        async with running_world(path, rights=rights) as world:
            await world.apply(app, [namespace(app), service(app, "first")])
            await world.seen(SERVICE, app, "first")
            watches = world.client.calls.watches
            for name in ("second", "third"):
                await eventually(lambda: len(proxy.writers) > watches, timeout=30)
                proxy.is_open = False
                proxy.cut()
                await asyncio.to_thread(kubectl.apply, [service(app, name)])
                await asyncio.sleep(0.5)
                assert world.cache.find(SERVICE, app, name) is None
                proxy.is_open = True
                await world.seen(SERVICE, app, name)
            await asyncio.to_thread(kubectl, "delete", "service", "first", "-n", app)
            await eventually(lambda: world.cache.find(SERVICE, app, "first") is None, timeout=30)
            assert world.cache.find(NAMESPACE, app, app) is not None
            assert names.labels(app).items() <= world.cache.objects(NAMESPACE, app)[0]["metadata"]["labels"].items()
