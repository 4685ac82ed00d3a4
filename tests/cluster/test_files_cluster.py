"""The files of a volume on a real cluster, under exactly the rights of the platform."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.spec_storage import VolumeSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.files import Filers
from controller.engine.kubernetes.kinds import JOB, PERSISTENT_VOLUME_CLAIM, POD
from controller.engine.kubernetes.manifests import render_foundation
from controller.engine.kubernetes.manifests.volumes import render_volume
from controller.engine.port import FileStore
from shared.errors import InvalidInputError, NotFoundError, UnavailableError
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.cluster_rights import Rights
from support.cluster_world import SYNC_SECONDS, World
from support.kubectl import Kubectl

VOLUME = "uploads"
CONFIG = KubernetesConfig(volume_access_mode="ReadWriteOnce", pod_security_level="restricted")
ODD_NAMES = ("with space", "-rf", "line\nfeed\n", "$(id)`id`'\"", "*", "%s&x=1#y+z", "ümläut", ".hidden")
ENDED = ("Succeeded", "Failed")


@dataclass
class Place:
    """An app with a volume, and what reaches its files."""

    app: str
    world: World
    config: KubernetesConfig
    filers: Filers
    kubectl: Kubectl

    async def store(self, filers: Filers | None = None) -> FileStore:
        return await (filers or self.filers).store(self.app, VOLUME)

    async def run(self, *command: str) -> str:
        return await asyncio.to_thread(self.kubectl, "-n", self.app, *command)

    async def get(self, *arguments: str) -> Any:
        return await asyncio.to_thread(self.kubectl.get, "-n", self.app, *arguments)

    async def pod(self) -> str:
        """The one filer that is there."""
        found = await self.get("pods", "-l", f"type={names.FILER}")
        (name,) = [
            one["metadata"]["name"]
            for one in found["items"]
            if one["status"]["phase"] not in ENDED and "deletionTimestamp" not in one["metadata"]
        ]
        return str(name)

    async def inside(self, script: str) -> str:
        """What a line of shell says in the filer."""
        return await self.run("exec", await self.pod(), "--", "sh", "-c", script)


@pytest_asyncio.fixture
async def make_place(
    world: World, rights: Rights, make_app: Callable[[], str], kubectl: Kubectl
) -> AsyncIterator[Callable[..., Awaitable[Place]]]:
    """Makes apps with a volume; what reaches their files is closed after the test."""
    async with contextlib.AsyncExitStack() as stack:

        async def make(**changes: Any) -> Place:
            app, config = make_app(), replace(rights.config(CONFIG), **changes)
            volume = render_volume(app, VolumeSpec(VOLUME, "csi", 1), config)
            applied, _, _ = await world.apply(app, [*render_foundation(app, None, config), *volume])
            assert applied.errors == ()
            filers = Filers(world.client, world.cache, config)
            stack.push_async_callback(filers.close)
            return Place(app, world, config, filers, kubectl)

        yield make


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


async def content(store: FileStore, path: str) -> bytes:
    size, stream = await store.read(path)
    received = b"".join([piece async for piece in stream])
    assert len(received) == size
    return received


async def test_files_come_back_byte_for_byte(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place()
    store = await place.store()
    assert await store.list("") == []
    data = random.Random(5).randbytes(20 * 1024 * 1024)
    cuts = [data[start : start + 65536] for start in range(0, len(data), 65536)]
    await store.write("dir/large.bin", pieces(*cuts))
    received = await content(store, "dir/large.bin")
    assert hashlib.sha256(received).digest() == hashlib.sha256(data).digest()
    (entry,) = await store.list("dir")
    assert (entry.name, entry.path, entry.size, entry.is_dir) == (
        "large.bin", "dir/large.bin", len(data), False,
    )  # fmt: skip
    assert [one.is_dir for one in await store.list("")] == [True]
    _, stream = await store.read("dir/large.bin")  # one that nobody wants any more
    assert isinstance(stream, AsyncGenerator)
    await anext(stream)
    await stream.aclose()
    await store.write("dir/large.bin", pieces(b"small now"))
    assert await content(store, "dir/large.bin") == b"small now"
    assert (await place.inside("id -u; id -g; stat -c %a /data/dir/large.bin")).split() == ["1001", "1001", "664"]
    await store.delete("dir")
    with pytest.raises(NotFoundError, match=r"there is no dir/large\.bin in this volume"):
        await store.read("dir/large.bin")
    # No command is left behind, and no request has made a second filer.
    await eventually(lambda: _processes(place, 2), timeout=20)
    assert len(place.world.cache.entries(JOB, place.app)) == 1


async def _processes(place: Place, count: int) -> bool:
    listed = await place.inside("for one in /proc/[0-9]*; do tr '\\0\\n' '  ' < $one/cmdline | cut -c 1-60; echo; done")
    own = [
        line for line in listed.splitlines() if line and "/proc/" not in line and not line.startswith(("tr ", "cut"))
    ]
    assert len(own) == count, own
    return True


async def test_odd_names_and_links(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place()
    store = await place.store()
    for name in ODD_NAMES:
        await store.write(f"odd/{name}/{name}", pieces(name.encode()))
        assert await content(store, f"odd/{name}/{name}") == name.encode()
    assert [entry.name for entry in await store.list("odd")] == sorted(ODD_NAMES)
    await store.delete("odd/-rf")
    await store.delete("odd/*")
    assert [entry.name for entry in await store.list("odd")] == sorted(set(ODD_NAMES) - {"-rf", "*"})
    await place.inside(
        "cd /data && ln -s /etc out && ln -s /etc/hostname link && ln -s odd in && mkdir shut && chmod 0 shut"
    )
    for asked in (
        store.list("out"), store.read("out/hostname"), store.read("link"), store.write("out/x", pieces(b"x")),
        store.delete("out/hostname"), store.read("../etc/hostname"),
    ):  # fmt: skip
        with pytest.raises(InvalidInputError, match=r"leads out of this volume|without \.\."):
            await asked
    with pytest.raises(InvalidInputError, match="could not list shut: "):
        await store.list("shut")
    with pytest.raises(InvalidInputError, match="could not write shut/x: "):
        await store.write("shut/x", pieces(b"x"))
    assert await content(store, "in/ümläut/ümläut") == "ümläut".encode()
    await store.delete("out")
    assert await place.inside("ls /etc/hostname") == "/etc/hostname\n"


async def test_many_at_a_time_start_one_filer(make_place: Callable[..., Awaitable[Place]], kubeconfig: Path) -> None:
    place = await make_place()
    client = Client(Kubeconfig(kubeconfig))
    await client.open()
    cache = Cache(client)
    await cache.start()
    try:
        assert await cache.wait_synced(place.app, seconds=SYNC_SECONDS)
        other = Filers(client, cache, place.config)  # another controller
        stores = [await place.store(filers) for filers in (place.filers, other) for _ in range(4)]
        await asyncio.gather(*(store.write(f"file-{i}", pieces(b"x" * i)) for i, store in enumerate(stores)))
        listed = await asyncio.gather(*(store.list("") for store in stores))
        assert all([entry.size for entry in one] == list(range(8)) for one in listed)
        assert len((await place.get("jobs"))["items"]) == 1
        await place.pod()
        await other.close()
    finally:
        await cache.close()
        await client.close()


async def test_a_filer_that_has_gone_is_started_anew(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place()
    store = await place.store()
    await store.write("file", pieces(b"stays"))
    first = await place.pod()
    await place.run("delete", "pod", first, "--grace-period=0", "--force")
    assert await content(store, "file") == b"stays"
    second = await place.pod()
    await place.run("delete", "job", names.filer(VOLUME))
    assert await content(store, "file") == b"stays"
    third = await place.pod()
    with contextlib.suppress(AssertionError):  # it ends this command as well
        await place.inside("kill -TERM 1")
    await eventually(lambda: third not in _living(place), timeout=20)
    assert await content(store, "file") == b"stays"
    assert len({first, second, third, await place.pod()}) == 4


async def test_an_upload_that_breaks_leaves_nothing(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place()
    store = await place.store()
    await store.write("old", pieces(b"before"))
    begun = asyncio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield b"x" * 100_000
        begun.set()
        await asyncio.sleep(3600)

    upload = asyncio.create_task(store.write("old", endless()))
    await begun.wait()
    assert ".drycc-upload-" in await place.inside("ls -a /data")
    upload.cancel()
    with pytest.raises(asyncio.CancelledError):
        await upload

    async def only_the_old() -> bool:
        return (await place.inside("ls -A /data")).split() == ["old"]

    await eventually(only_the_old, timeout=20)
    begun.clear()

    async def steady() -> AsyncIterator[bytes]:
        assert not begun.is_set(), "content was asked for twice"
        begun.set()
        while True:
            yield b"y" * 10_000
            await asyncio.sleep(0.05)

    upload = asyncio.create_task(store.write("dir/new", steady()))
    await begun.wait()
    await place.run("delete", "job", names.filer(VOLUME))  # its pod takes the half file away as it goes
    with pytest.raises(UnavailableError):
        async with asyncio.timeout(30):
            await upload
    assert [entry.name for entry in await store.list("")] == ["old"]
    await eventually(only_the_old, timeout=20)
    assert await content(store, "old") == b"before"


async def test_a_volume_that_is_not_there(make_place: Callable[..., Awaitable[Place]], world: World) -> None:
    place = await make_place()
    with pytest.raises(NotFoundError, match=f"{place.app} has no volume other"):
        await place.filers.store(place.app, "other")
    with pytest.raises(NotFoundError):
        await place.filers.store("no-such-app-at-all", VOLUME)
    assert place.world.cache.entries(JOB, place.app) == {}


async def test_a_volume_that_is_to_go_is_not_held(make_place: Callable[..., Awaitable[Place]], world: World) -> None:
    place = await make_place()
    await (await place.store()).write("file", pieces(b"x"))
    await world.client.delete(PERSISTENT_VOLUME_CLAIM, VOLUME, place.app)
    cache = world.cache

    def is_going() -> bool:
        entry = cache.find(PERSISTENT_VOLUME_CLAIM, place.app, VOLUME)
        return entry is not None and entry.is_terminating

    await eventually(is_going)
    with pytest.raises(NotFoundError):
        await place.store()
    await place.filers.sweep(place.app)
    await eventually(lambda: cache.find(PERSISTENT_VOLUME_CLAIM, place.app, VOLUME) is None, timeout=30)


async def test_a_filer_without_an_image_says_why(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place(filer_image="localhost:5000/no/such-image:1", start_deadline=timedelta(seconds=60))
    store = await place.store()
    asked = [asyncio.create_task(_detail(store)) for _ in range(3)]
    details = await asyncio.gather(*asked)
    assert len(set(details)) == 1
    assert "its filer does not run: there is no image localhost:5000/no/such-image:1" in details[0]


async def test_a_filer_that_takes_too_long_says_what_is_known(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place(storage_class="no-such-class", start_deadline=timedelta(seconds=5))
    detail = await _detail(await place.store())
    assert "its filer does not run: a volume is not there: " in detail
    assert "(given up after 5 s)" in detail


async def _detail(store: FileStore) -> str:
    with pytest.raises(UnavailableError) as refused:
        await store.list("")
    return refused.value.detail


async def test_a_filer_that_nobody_uses_ends(make_place: Callable[..., Awaitable[Place]]) -> None:
    place = await make_place(filer_idle=timedelta(seconds=8))
    store = await place.store()
    await store.write("file", pieces(b"x"))
    first = await place.pod()

    async def slow() -> AsyncIterator[bytes]:
        for _ in range(12):
            yield b"x"
            await asyncio.sleep(1)

    await store.write("slow", slow())  # takes longer than a filer lives that nobody uses
    assert await place.pod() == first
    assert place.world.cache.find(JOB, place.app, names.filer(VOLUME)) is not None
    await eventually(lambda: not _living(place), timeout=40)
    assert await content(store, "slow") == b"x" * 12


def _living(place: Place) -> list[str]:
    pods = place.world.cache.objects(POD, place.app)
    return [one["metadata"]["name"] for one in pods if one["status"].get("phase") not in ENDED]


async def test_weakness_56_nothing_secret_is_in_what_makes_a_filer(
    make_place: Callable[..., Awaitable[Place]],
) -> None:
    place = await make_place()
    await (await place.store()).write("file", pieces(b"x"))
    job = await place.get("job", names.filer(VOLUME))
    pod = await place.get("pod", await place.pod())
    for spec in (job["spec"]["template"]["spec"], pod["spec"]):
        (container,) = spec["containers"]
        assert not {"env", "envFrom", "ports"} & set(container)
        assert [volume["name"] for volume in spec["volumes"]] == ["volume"]
        assert spec["automountServiceAccountToken"] is False
    assert "password" not in json.dumps([job, pod]).lower()
    assert (await place.inside("ls /var/run/secrets 2>&1 || true; env")).lower().count("token") == 0
