"""Volumes on a real cluster: data that outlives releases, files for people, and what storage refuses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any, Final
from urllib.parse import quote_plus
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from controller.domain.spec import AppSpec
from controller.domain.spec_storage import VolumeSpec
from controller.engine.kubernetes.engine import KubernetesEngine
from controller.engine.port import NotSupportedError
from shared.errors import SuiteError
from shared.kubernetes.transport import Kubeconfig
from support.cluster_platform import Platform, PlatformApp, StartPlatform, config_for, until
from support.cluster_rights import Rights
from support.kubectl import Kubectl

pytestmark = pytest.mark.timeout(240)
QUOTA: Final = '{"hard": {"requests.storage": "5Gi"}}'
ACCESS_KEY, SECRET_KEY = "key-id-of-the-test", "secret-key-of-the-test"
STATIC: Final[tuple[dict[str, Any], ...]] = (
    {"name": "share", "type": "nfs", "parameters": {"nfs": {"server": "nfs.example.org", "path": "/exports/shop"}}},
    {
        "name": "bucket",
        "type": "oss",
        "parameters": {
            "oss": {
                "server": "https://s3.example.org",
                "bucket": "shop",
                "access_key": ACCESS_KEY,
                "secret_key": SECRET_KEY,
            }
        },
    },
)
"""Volumes of servers that nobody asks, as nothing mounts them."""


@pytest_asyncio.fixture(scope="module")
async def platform(start_platform: StartPlatform) -> AsyncIterator[Platform]:
    """A controller whose apps may have 5 GiB of storage."""
    async with start_platform(prefix="hg", namespace_default_quota_spec=QUOTA) as running:
        yield running


@pytest_asyncio.fixture(scope="module")
async def app(platform: Platform) -> PlatformApp:
    """An app whose web has a volume at /data."""
    deployed = await platform.create()
    await deployed.configure(termination_grace_period={"web": "2", "run": "1"})
    await deployed.build()
    await deployed.succeeds()
    await deployed.call("POST", "volumes/", expect=201, json={"name": "data", "size": "1G"})
    await deployed.call("PATCH", "volumes/data/path/", expect=200, json={"path": {"web": "/data"}})

    async def has_it() -> bool:
        return (await deployed.get("/files/note", method="PUT", content=b"written by the app")).status_code == 200

    await until(has_it)
    await deployed.runs(web=1)
    return deployed


def files(app: PlatformApp) -> str:
    """Where the files of its volume are."""
    return f"/v2/apps/{app.name}/volumes/data/client"


async def upload(app: PlatformApp, name: str, directory: str, content: bytes) -> httpx.Response:
    """Send a file as clients do."""
    disposition = f"attachment;filename*=utf-8''{quote_plus(name)};filepath*=utf-8''{quote_plus(directory)}"
    headers = {"Content-Type": "filer/octet-stream", "Content-Disposition": disposition}
    return await app.owner.client.post(f"{files(app)}/", content=content, headers=headers, timeout=60)


async def test_data_outlives_a_release_and_the_process_that_wrote_it(app: PlatformApp) -> None:
    await app.succeeds(await app.set(GREETING="again"))
    await app.runs(web=1)
    assert await app.answers("/files/note") == "written by the app"
    await app.scale(web=0)
    await app.runs()
    await app.scale(web=1)
    assert await app.answers("/files/note") == "written by the app"


async def test_people_reach_the_files_that_the_app_has(app: PlatformApp) -> None:
    client, url = app.owner.client, files(app)
    listed = (await client.get(f"{url}/", timeout=60)).json()["results"]
    assert ("note", "18", "file") in [(one["name"], one["size"], one["type"]) for one in listed]
    assert (await client.get(f"{url}/note")).content == b"written by the app"
    content = bytes(range(256)) * 4096
    sent = await upload(app, "dd/a b+é.bin", "up/dir", content)
    assert (sent.status_code, sent.json()) == (200, "up/dir/a b+é.bin")
    got = await client.get(f"{url}/up/dir/a b+é.bin")
    assert (got.status_code, got.content == content) == (200, True)
    await upload(app, "reply", "", b"written by a person")
    assert await app.answers("/files/reply") == "written by a person"
    done = await app.job(["sh", "-c", "cat /mnt/reply; ls /mnt/up"], volumes={"data": "/mnt"})
    assert (done["state"], done["log"]) == ("down", ["written by a persondir"])
    assert (await client.delete(f"{url}/up")).status_code == 200
    assert (await client.get(f"{url}/up/dir/a b+é.bin")).status_code == 404
    assert (await client.get(f"{url}/..%2F..%2Fetc%2Fpasswd")).status_code == 400


async def test_a_volume_grows_as_far_as_it_may(app: PlatformApp) -> None:
    grown = await app.call("PATCH", "volumes/data/", expect=200, json={"size": "2G"})
    assert grown["size"] == "2G"

    async def is_asked_for() -> bool:
        claim = await app.platform.objects("pvc", "-n", app.name, "-l", f"app={app.name}")
        return [one["spec"]["resources"]["requests"]["storage"] for one in claim["items"]] == ["2Gi"]

    await until(is_asked_for)
    refused = await app.owner.client.patch(f"/v2/apps/{app.name}/volumes/data/", json={"size": "9G"})
    assert 400 <= refused.status_code < 500, refused.text
    assert "exceeded quota" in refused.text
    assert (await app.call("GET", "volumes/data/"))["size"] == "2G"
    assert await app.answers("/files/note") == "written by the app"


async def test_a_volume_that_can_never_be_is_refused_at_once(app: PlatformApp) -> None:
    body = {"name": "large", "size": "6G"}
    refused = await app.owner.client.post(f"/v2/apps/{app.name}/volumes/", json=body)
    assert 400 <= refused.status_code < 500, refused.text
    assert "exceeded quota" in refused.text
    assert "requests.storage=6Gi" in refused.text
    assert [volume["name"] for volume in (await app.call("GET", "volumes/"))["results"]] == ["data"]


async def test_weakness_56_volumes_of_servers_are_objects_without_keys_and_go_with_their_volume(
    app: PlatformApp,
) -> None:
    for body in STATIC:
        await app.call("POST", "volumes/", expect=201, json=body)

    async def are_bound() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await app.platform.objects("pv", "-l", f"app={app.name}"))["items"]
        assert [one["status"]["phase"] for one in found] == ["Bound", "Bound"], found
        return found

    found = {one["spec"]["claimRef"]["name"]: one for one in await until(are_bound)}
    assert {one["spec"]["claimRef"]["namespace"] for one in found.values()} == {app.name}
    sources = [one["spec"].get("nfs") or one["spec"]["csi"]["volumeAttributes"] for one in found.values()]
    assert {"server": "nfs.example.org", "path": "/exports/shop"} in sources
    assert {"bucketName": "shop"} in sources
    for key in (ACCESS_KEY, SECRET_KEY):
        assert key not in str(found)
    await app.call("DELETE", "volumes/share/", expect=204)

    async def is_one() -> bool:
        left = (await app.platform.objects("pv", "-l", f"app={app.name}"))["items"]
        return len(left) == 1 and "csi" in left[0]["spec"]

    await until(is_one)


async def test_a_mounted_volume_stays_and_an_unmounted_one_goes_with_its_data(app: PlatformApp) -> None:
    kept = await app.owner.client.delete(f"/v2/apps/{app.name}/volumes/data/")
    assert kept.status_code == 400
    await app.call("PATCH", "volumes/data/path/", expect=200, json={"path": {"web": None}})

    async def is_unmounted() -> bool:
        web = await app.platform.objects("deployment", "-n", app.name, f"{app.name}-web")
        return not web["spec"]["template"]["spec"].get("volumes")

    await until(is_unmounted)
    await app.runs(web=1)
    await app.answers("/files/note", status=404)
    await app.call("DELETE", "volumes/data/", expect=204)

    async def is_gone() -> bool:
        claims = (await app.platform.objects("pvc", "-n", app.name))["items"]
        return "data" not in [claim["metadata"]["name"] for claim in claims]

    await until(is_gone)  # though a filer and a one-off had it, and their pods may still be there
    assert (await app.owner.client.get(f"{files(app)}/")).status_code == 404


async def test_weakness_34_no_volume_is_left_of_a_destroyed_app(app: PlatformApp) -> None:
    there = {volume["name"] for volume in (await app.call("GET", "volumes/"))["results"]}
    for volume in STATIC:
        if volume["name"] not in there:
            await app.call("POST", "volumes/", expect=201, json=volume)

    async def are_two() -> bool:
        return len((await app.platform.objects("pv", "-l", f"app={app.name}"))["items"]) == 2

    await until(are_two)
    await app.destroy()

    async def none_is_left() -> bool:
        volumes = (await app.platform.objects("pv"))["items"]
        left = [one["metadata"]["name"] for one in volumes if one["spec"]["claimRef"]["namespace"] == app.name]
        assert left == []
        return True

    await until(none_is_left)


@pytest.fixture
def fixed_class(kubectl: Kubectl) -> Iterator[str]:
    """A class of storage whose volumes cannot grow."""
    name = f"hg-fixed-{uuid4().hex[:8]}"
    facts = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": name}}
    kubectl.apply([{**facts, "provisioner": "example.org/nobody", "allowVolumeExpansion": False}])
    yield name
    kubectl("delete", "--wait=false", "--ignore-not-found", f"storageclass/{name}", f"pv/{name}")


async def test_a_volume_of_fixed_size_is_refused_to_grow_in_the_words_of_the_cluster(
    kubectl: Kubectl, rights: Rights, make_app: Any, fixed_class: str
) -> None:
    app = make_app()
    config = config_for(kubectl, storage_class=fixed_class, **rights.settings)
    engine = KubernetesEngine(Kubeconfig(rights.kubeconfig(rights.whole)), config)
    try:
        await engine.start()
        await engine.apply(AppSpec(app, volumes=(VolumeSpec("data", "csi", 1),)))
        with pytest.raises(NotSupportedError, match="mount it, or delete it"):
            await engine.check_volume(app, VolumeSpec("data", "csi", 2))
        claim = {"namespace": app, "name": "data"}
        spec = {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/tmp"}}
        volume = {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": fixed_class}}
        kubectl.apply([{**volume, "spec": {**spec, "claimRef": claim, "storageClassName": fixed_class}}])
        kubectl("wait", "--for=jsonpath={.status.phase}=Bound", "pvc/data", "-n", app, "--timeout=30s")

        async def words() -> str:
            with pytest.raises(SuiteError) as refused:
                await engine.check_volume(app, VolumeSpec("data", "csi", 2))
            assert 400 <= refused.value.status < 500
            assert "mount it" not in refused.value.detail  # the engine has not heard of its storage yet
            return refused.value.detail

        assert "only dynamically provisioned pvc can be resized" in await until(words)
        await engine.check_volume(app, VolumeSpec("other", "csi", 2))
    finally:
        await engine.close()
