"""The client on a real API server: objects, words of refusal, rights, watches, the output of pods."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from controller.engine.kubernetes import names
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.kinds import DEPLOYMENT, NAMESPACE, NODE, POD, SECRET, SERVICE
from shared.kubernetes.errors import (
    ClusterConflictError,
    ClusterForbiddenError,
    ClusterGoneError,
    ClusterInvalidError,
    ClusterNotFoundError,
)
from shared.kubernetes.transport import InCluster, Kubeconfig
from support.cluster_world import deployment, secret, service
from support.faulty_api_server import write_kubeconfig
from support.kubectl import Kubectl

A = base64.b64encode(b"value").decode()


@pytest_asyncio.fixture
async def client(all_rights: Path) -> AsyncIterator[Client]:
    """One that may do everything: this is about what the API server answers."""
    opened = Client(Kubeconfig(all_rights))
    await opened.open()
    yield opened
    await opened.close()


@pytest.fixture
def place(make_namespace: Callable[[], str]) -> str:
    """An empty namespace."""
    return make_namespace()


async def test_objects_come_and_go(client: Client, place: str) -> None:
    made = await client.apply(service(place, "shop"))
    assert made["metadata"]["managedFields"][0]["manager"] == names.FIELD_MANAGER
    assert (await client.get(SERVICE, "shop", place))["spec"]["ports"][0]["port"] == 80
    with pytest.raises(ClusterConflictError) as caught:
        await client.create(service(place, "shop"))
    assert caught.value.reason == "AlreadyExists"
    with pytest.raises(ClusterConflictError):
        await client.delete(SERVICE, "shop", place, uid="00000000-0000-0000-0000-000000000000")
    assert await client.delete(SERVICE, "shop", place, uid=made["metadata"]["uid"])
    assert not await client.delete(SERVICE, "shop", place)
    with pytest.raises(ClusterNotFoundError, match=f"Could not read Service {place}/shop"):
        await client.get(SERVICE, "shop", place)
    assert client.calls.writes == 5


async def test_lists_come_in_pages_and_are_chosen_by_label(client: Client, place: str) -> None:
    for number in range(5):
        await client.apply(secret(place, f"s{number}", A=A))
    found = await client.list(SECRET, place, labels="heritage=drycc", page=2)
    assert [item["metadata"]["name"] for item in found.items] == [f"s{number}" for number in range(5)]
    assert {item["kind"] for item in found.items} == {"Secret"}
    assert found.resource_version.isdigit()
    assert (await client.list(SECRET, place, labels="heritage=other")).items == ()
    assert (await client.list(NODE)).items


async def test_numbers_may_be_changed_by_a_patch(client: Client, place: str) -> None:
    await client.apply(deployment(place))
    await client.patch(DEPLOYMENT, f"{place}-web", place, merge={"spec": {"replicas": 3}}, subresource="scale")
    assert (await client.get(DEPLOYMENT, f"{place}-web", place))["spec"]["replicas"] == 3
    await client.patch(
        DEPLOYMENT, f"{place}-web", place, operations=[{"op": "replace", "path": "/spec/replicas", "value": 0}]
    )
    assert (await client.get(DEPLOYMENT, f"{place}-web", place))["spec"]["replicas"] == 0


async def test_what_is_refused_is_told_in_the_servers_words(client: Client, place: str) -> None:
    with pytest.raises(ClusterInvalidError, match="must be between 1 and 65535"):
        await client.apply(service(place, "shop", port=70000))
    with pytest.raises(ClusterInvalidError, match="field not declared in schema"):
        await client.apply({**service(place, "shop"), "spec": {"portz": []}})
    with pytest.raises(ClusterInvalidError, match="illegal base64"):
        await client.apply(secret(place, "s", A="no base64!"))
    with pytest.raises(ClusterNotFoundError, match='namespaces "no-such-namespace" not found'):
        await client.apply(service("no-such-namespace", "shop"))
    await client.apply(service(place, "shop"))
    theirs = service(place, "shop")
    theirs["spec"]["selector"]["type"] = "other"
    with pytest.raises(ClusterConflictError, match="conflict with"):
        await client.apply(theirs, manager="somebody-else", force=False)


async def test_weakness_49_keys_of_secrets_are_taken_as_they_are(client: Client, place: str) -> None:
    await client.apply(secret(place, "s", FOO_BAR=A) | {"data": {"FOO_BAR": A, "foo-bar": A, "Foo.Bar": A}})
    assert set((await client.get(SECRET, "s", place))["data"]) == {"FOO_BAR", "foo-bar", "Foo.Bar"}


async def test_a_watch_tells_what_happens(client: Client, place: str) -> None:
    start = (await client.list(SERVICE, place)).resource_version
    watch = client.watch(SERVICE, place, resource_version=start, timeout_seconds=20)
    async with aclosing(watch) as events:
        await client.apply(service(place, "shop"))
        first = await anext(events)
        await client.apply(service(place, "shop", port=81))
        second = await anext(events)
        await client.delete(SERVICE, "shop", place)
        third = await anext(events)
    assert [first.type, second.type, third.type] == ["ADDED", "MODIFIED", "DELETED"]
    assert int(start) < int(first.resource_version) < int(third.resource_version)


async def test_a_watch_ends_in_time_with_a_bookmark(client: Client, place: str) -> None:
    start = (await client.list(SERVICE, place)).resource_version
    async with aclosing(client.watch(SERVICE, place, resource_version=start, timeout_seconds=3)) as events:
        seen = [event.type async for event in events]
    assert set(seen) <= {"BOOKMARK"}


async def test_a_version_that_is_forgotten_is_told(client: Client) -> None:
    with pytest.raises(ClusterGoneError):
        async with aclosing(client.watch(POD, resource_version="1", timeout_seconds=5)) as events:
            await anext(events)


async def test_rights_that_we_lack_are_told(place: str, kubectl: Kubectl, tmp_path: Path) -> None:
    async with as_service_account(kubectl, place, tmp_path) as nobody:
        with pytest.raises(ClusterForbiddenError, match='cannot list resource "secrets"'):
            await nobody.list(SECRET)
        with pytest.raises(ClusterForbiddenError, match='cannot patch resource "services"'):
            await nobody.apply(service(place, "shop"))


def as_service_account(kubectl: Kubectl, place: str, directory: Path) -> Any:
    return aclosing_client(Client(Kubeconfig(account_config(kubectl, place, directory))))


def account_config(kubectl: Kubectl, place: str, directory: Path) -> Path:
    """A kubeconfig of the service account `default` of that namespace, with its token in a file."""
    (directory / "token").write_text(kubectl("create", "token", "default", "-n", place))
    view = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    cluster = view["clusters"][0]["cluster"]
    return write_kubeconfig(
        directory / "kubeconfig", cluster["server"], cluster=cluster, tokenFile=str(directory / "token")
    )


class aclosing_client:  # noqa: N801 - named as contextlib's
    def __init__(self, client: Client) -> None:
        self._client = client

    async def __aenter__(self) -> Client:
        await self._client.open()
        return self._client

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()


async def test_weakness_39_a_token_that_is_not_taken_any_more_is_read_again(
    place: str, kubectl: Kubectl, tmp_path: Path
) -> None:
    path = account_config(kubectl, place, tmp_path)
    good = (tmp_path / "token").read_text()
    async with aclosing_client(Client(Kubeconfig(path))) as client:
        await client.discover()
        (tmp_path / "token").write_text("not.a.token")
        path.touch()
        with pytest.raises(ClusterForbiddenError, match="Unauthorized"):
            await client.discover()
        (tmp_path / "token").write_text(good)
        await client.discover()


async def test_a_pod_finds_its_cluster(
    place: str, kubectl: Kubectl, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    view = json.loads(kubectl("config", "view", "--raw", "--minify", "--flatten", "-o", "json"))
    cluster = view["clusters"][0]["cluster"]
    if "certificate-authority-data" not in cluster:
        pytest.skip("the kubeconfig has no certificate authority")
    (tmp_path / "ca.crt").write_bytes(base64.b64decode(cluster["certificate-authority-data"]))
    (tmp_path / "token").write_text(kubectl("create", "token", "default", "-n", place))
    host, _, port = cluster["server"].removeprefix("https://").partition(":")
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port or "443")
    async with aclosing_client(Client(InCluster(tmp_path / "token", tmp_path / "ca.crt"))) as client:
        with pytest.raises(ClusterForbiddenError, match=f"system:serviceaccount:{place}:default"):
            await client.list(NAMESPACE)


async def test_the_output_of_a_pod_is_followed(client: Client, place: str, kubectl: Kubectl) -> None:
    command = ["sh", "-c", "echo one; sleep 1; echo two >&2; exit 3"]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "talker", "namespace": place, "labels": names.labels(place)},
        "spec": {
            "restartPolicy": "Never",
            "containers": [{"name": "talker", "image": "busybox:1", "command": command}],
        },
    }
    await client.apply(pod)
    await asyncio.to_thread(
        kubectl, "wait", "-n", place, "pod/talker", "--for=jsonpath={.status.containerStatuses}", "--timeout=50s"
    )
    with pytest.raises(ClusterInvalidError):
        async with client.pod_logs(place, "talker", container="other"):
            raise AssertionError("there is no such container")
    text = b""
    for _ in range(50):
        try:
            async with client.pod_logs(place, "talker", follow="true") as chunks:
                text = b"".join([chunk async for chunk in chunks])
            break
        except ClusterInvalidError:  # it is still being created
            await asyncio.sleep(0.5)
    assert text == b"one\ntwo\n"
