"""What the platform may do on a real cluster, and what it may not, whoever asks it to."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.engine.kubernetes import names
from controller.engine.kubernetes.apply import Applied, Applier
from controller.engine.kubernetes.cache import Cache
from controller.engine.kubernetes.client import Client
from controller.engine.kubernetes.config import Account
from controller.engine.kubernetes.kinds import (
    DEPLOYMENT,
    JOB,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    ROLE_BINDING,
    SECRET,
    SERVICE,
    SHOWN,
    WATCHED,
)
from controller.engine.kubernetes.machines import has_machine
from controller.engine.kubernetes.manifests import render_foundation
from controller.engine.kubernetes.removal import remove
from shared.kubernetes.errors import ClusterForbiddenError
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.cluster_rights import BINDINGS, Rights
from support.cluster_world import SYNC_SECONDS, World, deployment, namespace, running_world, secret, service
from support.kubectl import Kubectl
from support.logs import captured_log

A = base64.b64encode(b"value").decode()
PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")


def whole(app: str, rights: Rights) -> list[Manifest]:
    """An app with one process type, written by the worker and shown by the API."""
    foundation = render_foundation(app, None, rights.split_config())
    return [*foundation, secret(app, "env-1", A=A), service(app, app), deployment(app, env={"A": "env-1"})]


@asynccontextmanager
async def process(rights: Rights, account: Account) -> AsyncIterator[World]:
    """A process of the platform that is that account."""
    async with AsyncExitStack() as stack:
        client = Client(Kubeconfig(rights.kubeconfig(account)))
        await client.open()
        stack.push_async_callback(client.close)
        cache = Cache(client, kinds=SHOWN if account == rights.api else WATCHED)
        stack.push_async_callback(cache.close)
        await cache.start()
        assert await cache.wait_synced(seconds=SYNC_SECONDS)
        yield World(client, cache, Applier(client, cache), rights)


@asynccontextmanager
async def connected(path: Path) -> AsyncIterator[Client]:
    client = Client(Kubeconfig(path))
    await client.open()
    try:
        yield client
    finally:
        await client.close()


async def opens_exec(client: Client, app: str, pod: str) -> None:
    """Start a command there and wait for its end."""
    path = f"/api/v1/namespaces/{app}/pods/{pod}/exec"
    query = [("command", "true"), ("stdout", "true")]
    socket = await client.websocket(f"exec in {pod}", path, query=query, protocols=PROTOCOLS)
    async with asyncio.timeout(20):
        async for _ in socket:
            pass
    await socket.close()


async def test_a_new_app_is_made_and_removed_without_a_word_of_missing_rights(rights: Rights, app: str) -> None:
    with captured_log("test") as output:
        async with process(rights, rights.worker) as worker:
            manifests = whole(app, rights)
            assert await worker.applier.apply(app, manifests) == Applied(written=len(manifests))
            await eventually(lambda: worker.cache.has_secrets(app), timeout=10)
            assert await worker.applier.apply(app, manifests) == Applied(skipped=len(manifests))
            assert worker.cache.find(SECRET, app, "env-1") is not None
            await remove(worker.client, worker.cache, app)
            assert app not in worker.cache.apps()
            assert await worker.applier.apply(app, manifests) == Applied(written=len(manifests))
    lines = [json.loads(line) for line in output.getvalue().splitlines()]
    assert [line for line in lines if line["level"] not in ("debug", "info")] == []


async def test_rights_that_somebody_took_away_are_given_back(world: World, app: str, kubectl: Kubectl) -> None:
    manifests = world.with_rights(app, [namespace(app), secret(app, "env-1", A=A), service(app, app)])
    await world.apply(app, manifests)
    await eventually(lambda: world.cache.synced(app))
    await asyncio.to_thread(kubectl, "delete", "rolebindings", "--all", "-n", app)
    await asyncio.to_thread(kubectl, "delete", "service", app, "-n", app)
    await eventually(lambda: not world.cache.entries(ROLE_BINDING, app) and not world.cache.entries(SERVICE, app))
    done, _, _ = await world.apply(app, manifests)
    assert (done.written, done.errors) == (BINDINGS + 1, ())


async def test_a_process_that_starts_while_its_rights_are_missing_gives_them_to_itself(
    world: World, app: str, kubectl: Kubectl, kubeconfig: Path, rights: Rights
) -> None:
    """As after a first apply that was cut off behind the namespace."""
    await asyncio.to_thread(kubectl.apply, [namespace(app)])
    async with running_world(kubeconfig, rights=rights) as other:
        await eventually(lambda: other.cache.synced(app))
        assert not other.cache.has_secrets(app)
        done, _, _ = await other.apply(app, [namespace(app), secret(app, "env-1", A=A)])
        assert done.errors == ()
        await eventually(lambda: other.cache.find(SECRET, app, "env-1") is not None, timeout=15)


async def test_an_edited_binding_is_made_anew(world: World, app: str, kubectl: Kubectl, rights: Rights) -> None:
    """What a RoleBinding binds can never change: the API server refuses an apply."""
    manifests = world.with_rights(app, [namespace(app), service(app, app)])
    await world.apply(app, manifests)
    mine = manifests[1]
    other: Any = {**mine, "roleRef": {**mine["roleRef"], "name": "view"}}
    await asyncio.to_thread(kubectl, "delete", "rolebinding", mine["metadata"]["name"], "-n", app)
    await asyncio.to_thread(kubectl.apply, [other])
    await eventually(
        lambda: [one["roleRef"]["name"] for one in world.cache.objects(ROLE_BINDING, app)].count("view") == 1
    )
    done, _, _ = await world.apply(app, manifests)
    assert (done.written, done.errors) == (1, ())
    found = kubectl.get("rolebindings", "-n", app)["items"]
    assert {one["roleRef"]["name"] for one in found} == {one["roleRef"]["name"] for one in rights.bindings(app)}


async def test_machines_are_known_and_wake_nobody(world: World, kubectl: Kubectl) -> None:
    node = kubectl.get("nodes")["items"][0]
    labels = node["metadata"]["labels"]
    assert has_machine(world.cache, {"kubernetes.io/hostname": labels["kubernetes.io/hostname"]})
    assert not has_machine(world.cache, {"kubernetes.io/hostname": "no-such-machine"})
    known = world.cache.objects(NODE, "")
    assert [one["metadata"]["name"] for one in known if one["metadata"]["name"] == node["metadata"]["name"]]
    assert "images" not in json.dumps(known)
    assert "" not in world.cache.apps()


async def test_the_api_alone_shows_apps_joins_people_to_them_and_holds_no_secret(
    rights: Rights, app: str, kubectl: Kubectl
) -> None:
    async with process(rights, rights.worker) as worker, process(rights, rights.api) as api:
        running = [*whole(app, rights)[:-1], deployment(app, env={"A": "env-1"}, replicas=1)]
        assert (await worker.applier.apply(app, running)).errors == ()
        await eventually(lambda: "containerStatuses" in json.dumps(api.cache.objects(POD, app)), timeout=30)
        assert not api.cache.has_secrets(app)
        pod = api.cache.objects(POD, app)[0]["metadata"]["name"]
        await asyncio.to_thread(kubectl, "wait", f"pod/{pod}", "-n", app, "--for=condition=Ready", "--timeout=50s")
        async with api.client.pod_logs(app, pod) as chunks:
            assert [chunk async for chunk in chunks] == []
        async with worker.client.pod_logs(app, pod) as chunks:
            assert [chunk async for chunk in chunks] == []
        await opens_exec(api.client, app, pod)
        with pytest.raises(ClusterForbiddenError):
            await opens_exec(worker.client, app, pod)
        claim = _claim(app)
        await api.client.apply(claim, dry_run=True)
        assert await api.client.delete(POD, pod, app, grace_seconds=0)
        for attempt in (
            lambda: api.client.list(SECRET, app),
            lambda: api.client.get(SECRET, "env-1", app),
            lambda: api.client.apply(secret(app, "env-2", A=A)),
            lambda: api.client.delete(DEPLOYMENT, f"{app}-web", app),
            lambda: api.client.patch(DEPLOYMENT, f"{app}-web", app, merge={"spec": {"replicas": 9}}),
            lambda: api.client.apply(rights.bindings(app)[0]),
            lambda: api.client.delete(ROLE_BINDING, "x", app),
            lambda: api.client.apply(namespace(app)),
        ):
            with pytest.raises(ClusterForbiddenError):
                await attempt()


def _claim(app: str) -> Manifest:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "data", "namespace": app, "labels": names.labels(app)}
    return {"apiVersion": "v1", "kind": PERSISTENT_VOLUME_CLAIM.kind, "metadata": metadata, "spec": spec}


@pytest.fixture
def foreign(kubectl: Kubectl, make_app: Callable[[], str]) -> str:
    """A namespace of somebody else, with a Secret in it."""
    name = make_app()
    kubectl("create", "namespace", name)
    kubectl("create", "secret", "generic", "theirs", "-n", name, "--from-literal=a=b")
    return name


@pytest.mark.parametrize("who", ["worker", "api", "whole"])
async def test_weakness_50_secrets_and_pods_of_others_are_out_of_reach(rights: Rights, foreign: str, who: str) -> None:
    account: Account = getattr(rights, who)
    async with connected(rights.kubeconfig(account)) as client:
        for attempt in (
            lambda: client.list(SECRET),
            lambda: client.list(SECRET, "kube-system"),
            lambda: client.get(SECRET, "any", "kube-system"),
            lambda: client.list(SECRET, foreign),
            lambda: client.get(SECRET, "theirs", foreign),
            lambda: client.apply(secret(foreign, "theirs", A=A)),
            lambda: client.delete(SECRET, "theirs", foreign),
            lambda: client.apply(service(foreign, "x")),
            lambda: client.apply(deployment(foreign)),
            lambda: client.delete(POD, "any", foreign),
            lambda: client.delete(JOB, "any", foreign),
            lambda: opens_exec(client, foreign, "any"),
            lambda: opens_exec(client, "kube-system", "any"),
        ):
            with pytest.raises(ClusterForbiddenError):
                await attempt()
        with pytest.raises(ClusterForbiddenError):
            async with client.pod_logs(foreign, "any"):
                raise AssertionError("it may read the output of pods of others")


@pytest.mark.parametrize("who", ["worker", "api", "whole"])
def test_weakness_50_nobody_can_give_themselves_more(
    rights: Rights, foreign: str, kubectl: Kubectl, app: str, who: str
) -> None:
    account: Account = getattr(rights, who)
    me = f"--serviceaccount={account.namespace}:{account.name}"
    kubectl.apply([namespace(app), *rights.bindings(app)])
    worker_role = names.role(rights.prefix, names.WORKER_RIGHTS)
    for attempt in (
        ("create", "clusterrolebinding", f"{app}-x", "--clusterrole=cluster-admin", me),
        ("create", "clusterrolebinding", f"{app}-x", f"--clusterrole={worker_role}", me),
        ("create", "rolebinding", "x", "--clusterrole=cluster-admin", me, "-n", app),
        ("create", "rolebinding", "x", "--clusterrole=view", me, "-n", foreign),
        ("create", "rolebinding", "x", "--clusterrole=edit", me, "-n", app),
        ("create", "clusterrole", f"{app}-x", "--verb=get", "--resource=secrets"),
        ("create", "role", "x", "--verb=get", "--resource=secrets", "-n", app),
        ("label", "clusterrole", worker_role, "x=y"),
        ("create", "token", "default", "-n", "kube-system"),
        ("get", "namespaces", "--as=system:admin"),
        ("label", "node", "--all", "x=y"),
        ("run", "x", "--image=busybox:1", "-n", app),
        ("get", "configmaps", "-n", app),
    ):
        assert is_forbidden(kubectl, rights.kubeconfig(account), *attempt), attempt


@pytest.mark.parametrize("who", ["worker", "whole"])
def test_weakness_50_what_is_not_ours_stays_as_it_is(
    rights: Rights, foreign: str, kubectl: Kubectl, request: pytest.FixtureRequest, who: str
) -> None:
    """Where the rights alone would let the worker through: an admission policy keeps it to what is ours."""
    account: Account = getattr(rights, who)
    me = f"--serviceaccount={account.namespace}:{account.name}"
    role = names.role(rights.prefix, names.WORKER_RIGHTS)
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": foreign},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "",
            "nfs": {"server": "nfs.example.com", "path": "/x"},
        },
    }
    kubectl("create", "-f", "-", stdin=json.dumps(volume))
    request.addfinalizer(lambda: kubectl("delete", "persistentvolume", foreign, "--ignore-not-found"))
    kubectl("create", "rolebinding", "theirs", "--clusterrole=view", "--user=somebody", "-n", foreign)
    labels = [f"{key}={value}" for key, value in names.OURS.items()]
    for attempt in (
        ("create", "rolebinding", "x", f"--clusterrole={role}", me, "-n", foreign),
        ("create", "rolebinding", "x", f"--clusterrole={role}", me, "-n", "kube-system"),
        ("delete", "rolebinding", "theirs", "-n", foreign),
        ("label", "namespace", foreign, *labels),
        ("label", "namespace", "kube-system", *labels),
        ("delete", "namespace", foreign),
        ("delete", "persistentvolume", foreign),
    ):
        assert is_forbidden(kubectl, rights.kubeconfig(account), *attempt), attempt


def is_forbidden(kubectl: Kubectl, kubeconfig: Path, *command: str) -> bool:
    try:
        kubectl("--kubeconfig", str(kubeconfig), *command)
    except AssertionError as exc:
        return "forbidden" in str(exc).lower()
    return False


async def test_weakness_53_the_account_of_an_app_may_do_nothing(rights: Rights, app: str, kubectl: Kubectl) -> None:
    async with process(rights, rights.worker) as worker:
        await worker.applier.apply(app, whole(app, rights))
    subject = f"system:serviceaccount:{app}:{names.SERVICE_ACCOUNT}"
    for verb, resource in (("get", "secrets"), ("list", "pods"), ("create", "jobs"), ("create", "pods/exec")):
        with pytest.raises(AssertionError):  # the answer «no» is an exit code
            kubectl("auth", "can-i", verb, resource, "-n", app, "--as", subject)
