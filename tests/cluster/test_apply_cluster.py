"""An app on a real cluster: nothing is written that is there already, drift goes, what is foreign stays."""

from __future__ import annotations

import asyncio
import base64
import copy
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from controller.engine.kubernetes import names
from controller.engine.kubernetes.apply import Applied, Applier
from controller.engine.kubernetes.kinds import DEPLOYMENT, JOB, LISTENER_SET, NAMESPACE, REPLICA_SET, SECRET, SERVICE
from controller.engine.kubernetes.manifests import render
from controller.engine.kubernetes.removal import remove
from controller.engine.port import StillThereError
from shared.kubernetes.kinds import Manifest
from shared.testing.wait import eventually
from support.cluster_rights import BINDINGS, Rights
from support.cluster_world import World, deployment, namespace, running_world, secret, service
from support.kubectl import Kubectl
from support.kubernetes_specs import CAREFUL, RICH

ONE, TWO = (base64.b64encode(text.encode()).decode() for text in ("one", "two"))


def whole(app: str) -> list[Manifest]:
    """An app with one process type."""
    return [
        namespace(app),
        secret(app, "env-1", A=ONE),
        service(app, app),
        deployment(app, env={"A": "env-1"}),
    ]


@pytest_asyncio.fixture
async def applied(world: World, app: str) -> AsyncIterator[list[Manifest]]:
    """The same app, applied and settled."""
    manifests = whole(app)
    done, _, _ = await world.apply(app, manifests)
    assert done == Applied(written=4 + BINDINGS)
    await eventually(lambda: world.cache.synced(app))
    yield manifests


def live(kubectl: Kubectl, kind: str, name: str, app: str) -> Any:
    return kubectl.get(kind, name, "-n", app)


async def test_an_app_is_made_and_then_left_alone(world: World, app: str, kubectl: Kubectl) -> None:
    manifests = whole(app)
    done, _, _ = await world.apply(app, manifests)
    assert done == Applied(written=4 + BINDINGS)
    for _ in range(3):
        assert await world.apply(app, manifests) == (Applied(skipped=4 + BINDINGS), 0, 0)
    labels = live(kubectl, "deployment", f"{app}-web", app)["metadata"]["labels"]
    assert labels == names.labels(app, "web")


async def test_another_process_finds_nothing_to_write(
    world: World, app: str, applied: list[Manifest], kubeconfig: Path, rights: Rights
) -> None:
    async with running_world(kubeconfig, rights=rights) as other:
        assert await other.apply(app, applied) == (Applied(skipped=4 + BINDINGS), 0, 0)


async def test_everything_that_is_rendered_is_admitted_once_and_never_written_again(
    world: World, make_app: Callable[[], str], kubeconfig: Path, rights: Rights
) -> None:
    """The whole of what the renderers make, with whatever defaults the API server has for it."""
    app = make_app()
    text = json.dumps(render(RICH, rights.config(CAREFUL))).replace(RICH.app, app)
    manifests = json.loads(text)
    quota_free = [one for one in manifests if one["kind"] != "ResourceQuota"]
    done, _, _ = await world.apply(app, quota_free)
    assert [error for error in done.errors if error.kind != "Deployment"] == []
    assert done.errors == ()
    assert done.written == len(quota_free)
    await eventually(lambda: world.cache.has_secrets(app))  # their list is a read, too
    assert await world.apply(app, quota_free) == (Applied(skipped=len(quota_free)), 0, 0)
    await eventually(lambda: world.cache.synced(app))
    async with running_world(kubeconfig, rights=rights) as other:
        assert await other.apply(app, quota_free) == (Applied(skipped=len(quota_free)), 0, 0)
    await remove_volumes(world, app)


async def remove_volumes(world: World, app: str) -> None:
    try:
        await remove(world.client, world.cache, app, seconds=45)
    except StillThereError as exc:
        raise AssertionError(exc.detail) from exc


DRIFTS: dict[str, tuple[str, ...]] = {
    "a field is edited": ("patch", "deployment", "{app}-web", "-p", '{"spec":{"replicas":3}}'),
    "a label is taken off": ("label", "deployment", "{app}-web", "heritage-"),
    "our annotation is gone": ("annotate", "service", "{app}", f"{names.MANIFEST}-"),
    "a variable is edited": ("set", "env", "deployment/{app}-web", "A=edited"),
    "a variable is taken out": ("set", "env", "deployment/{app}-web", "A-"),
    "an image is edited": ("set", "image", "deployment/{app}-web", "{app}-web=busybox:2"),
    "a deployment is deleted": ("delete", "deployment", "{app}-web"),
    "a service is deleted": ("delete", "service", "{app}"),
    "a secret is deleted": ("delete", "secret", "env-1"),
    "a selector is edited": ("patch", "service", "{app}", "-p", '{"spec":{"selector":{"extra":"1"}}}'),
    "a port is edited": (
        "patch", "service", "{app}", "--type=merge",
        "-p", '{"spec":{"ports":[{"name":"tcp-main","port":81,"targetPort":8000}]}}',
    ),
    "a port points elsewhere": (
        "patch", "service", "{app}", "-p", '{"spec":{"ports":[{"port":80,"targetPort":9}]}}',
    ),
}  # fmt: skip


@pytest.mark.parametrize("drift", DRIFTS)
async def test_drift_is_told_and_healed(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl, drift: str
) -> None:
    before = copy.deepcopy(
        {one["kind"]: live(kubectl, one["kind"], one["metadata"]["name"], app) for one in applied[1:]}
    )
    told = world.cache.watch()
    command = [part.replace("{app}", app) for part in DRIFTS[drift]]
    await asyncio.to_thread(kubectl, "-n", app, *command)
    async with asyncio.timeout(5):
        while await anext(told) != app:
            pass

    async def heals() -> bool:
        done, _, _ = await world.apply(app, applied)
        assert done.errors == ()
        return done.written == 1

    await eventually(heals)
    assert (await world.apply(app, applied))[2] == 0
    for one in applied[1:]:
        now = live(kubectl, one["kind"], one["metadata"]["name"], app)
        for key in ("spec", "data"):
            assert _of_ours(now.get(key)) == _of_ours(before[one["kind"]].get(key))


def _of_ours(spec: Any) -> Any:
    """Without what the cluster chooses for each object."""
    if not isinstance(spec, dict):
        return spec
    return {key: value for key, value in spec.items() if not key.startswith("clusterIP")}


async def test_a_secret_that_was_replaced_by_another_gets_its_values_back(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    await asyncio.to_thread(kubectl, "delete", "secret", "env-1", "-n", app)
    other = secret(app, "env-1", A=TWO)
    await asyncio.to_thread(kubectl.apply, [other])

    async def heals() -> bool:
        return bool((await world.apply(app, applied))[0].written)

    await eventually(heals)
    assert live(kubectl, "secret", "env-1", app)["data"] == {"A": ONE}
    assert (await world.apply(app, applied))[2] == 0


async def test_fields_that_we_stop_sending_go_away(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    less = copy.deepcopy(applied)
    less[3]["spec"]["template"]["spec"]["containers"][0]["env"] = []
    del less[3]["spec"]["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"]
    done, _, writes = await world.apply(app, less)
    assert (done.written, writes) == (1, 1)
    container = live(kubectl, "deployment", f"{app}-web", app)["spec"]["template"]["spec"]["containers"][0]
    assert "env" not in container
    assert container["resources"]["limits"] == {"cpu": "100m"}
    assert (await world.apply(app, less))[2] == 0


async def test_weakness_19_what_others_add_is_left_alone(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    sidecar = {
        "metadata": {"annotations": {"sidecar.example.com/status": "injected"}},
        "spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "busybox:1", "command": ["true"]}]}}},
    }
    await asyncio.to_thread(kubectl, "-n", app, "patch", "deployment", f"{app}-web", "-p", json.dumps(sidecar))
    await eventually(
        lambda: "sidecar.example.com/status" in json.dumps(world.cache.objects(DEPLOYMENT, app)[0]["metadata"])
    )
    assert await world.apply(app, applied) == (Applied(skipped=4 + BINDINGS), 0, 0)
    changed = copy.deepcopy(applied)
    changed[3]["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "2000"]
    assert (await world.apply(app, changed))[0].written == 1
    found = live(kubectl, "deployment", f"{app}-web", app)
    assert found["metadata"]["annotations"]["sidecar.example.com/status"] == "injected"
    containers = {one["name"]: one for one in found["spec"]["template"]["spec"]["containers"]}
    assert containers["proxy"]["command"] == ["true"]
    assert containers[f"{app}-web"]["command"] == ["sleep", "2000"]


async def test_weakness_20_replicas_of_an_autoscaler_stay(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    scaled = [*applied[:3], deployment(app, env={"A": "env-1"}, replicas=3)]
    assert (await world.apply(app, scaled))[0].written == 1
    handed_over = [*applied[:3], deployment(app, env={"A": "env-1"}, replicas=None)]
    done, _, writes = await world.apply(app, handed_over)
    assert (done, writes) == (Applied(written=1, skipped=3 + BINDINGS), 2)

    def replicas() -> int:
        return int(live(kubectl, "deployment", f"{app}-web", app)["spec"]["replicas"])

    assert replicas() == 3
    assert (await world.apply(app, handed_over))[2] == 0
    await asyncio.to_thread(kubectl, "-n", app, "scale", "deployment", f"{app}-web", "--replicas=2")
    await eventually(lambda: world.cache.objects(DEPLOYMENT, app)[0]["spec"]["replicas"] == 2)
    assert (await world.apply(app, handed_over))[2] == 0
    changed = copy.deepcopy(handed_over)
    changed[3]["spec"]["template"]["spec"]["containers"][0]["command"] = ["sleep", "2000"]
    assert (await world.apply(app, changed))[2] == 1
    assert replicas() == 2
    assert (await world.apply(app, applied))[0].written == 1
    assert replicas() == 0


async def test_a_field_that_another_manager_took_is_taken_back(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    theirs = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": app, "namespace": app, "labels": {"type": "theirs", "team": "blue"}},
    }
    command = ("apply", "--server-side", "--field-manager=them", "--force-conflicts", "-f", "-")
    await asyncio.to_thread(lambda: kubectl(*command, stdin=json.dumps(theirs)))
    await eventually(lambda: "theirs" in json.dumps(world.cache.objects(SERVICE, app)))
    done, _, _ = await world.apply(app, applied)
    assert (done.written, done.errors) == (1, ())
    labels = live(kubectl, "service", app, app)["metadata"]["labels"]
    assert (labels["type"], labels["team"]) == ("web", "blue")


async def test_objects_that_are_not_rendered_any_more_go(world: World, app: str, kubectl: Kubectl) -> None:
    manifests = [*whole(app), service(app, f"{app}-worker")]
    await world.apply(app, manifests)
    for foreign in ({}, {"heritage": "drycc"}, {**names.OURS, "app": "other"}):
        other = service(app, f"foreign-{uuid4().hex[:6]}")
        other["metadata"]["labels"] = foreign
        await asyncio.to_thread(kubectl, "create", "-f", "-", stdin=json.dumps(other))
    await eventually(lambda: len(world.cache.entries(SERVICE, app)) == 3)
    done, _, writes = await world.apply(app, whole(app))
    assert (done, writes) == (Applied(skipped=4 + BINDINGS, deleted=1), 1)
    left = {one["metadata"]["name"] for one in kubectl.get("services", "-n", app)["items"]}
    assert len(left) == 4
    assert f"{app}-worker" not in left
    assert (await world.apply(app, whole(app)))[2] == 0


async def test_weakness_14_a_secret_stays_while_something_refers_to_it(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    await eventually(lambda: len(world.cache.entries(REPLICA_SET, app)) == 1)
    job: Manifest = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "once", "namespace": app, "labels": names.labels(app, "run")},
        "spec": {"suspend": True, "template": {"spec": {"restartPolicy": "Never", "containers": [
            {"name": "x", "image": "busybox:1", "envFrom": [{"secretRef": {"name": "env-job"}}]}
        ]}}},
    }  # fmt: skip
    await world.client.apply(secret(app, "env-job", A=ONE))
    await world.client.apply(job)
    await world.client.apply(secret(app, "env-unused", A=ONE))
    await eventually(lambda: len(world.cache.entries(SECRET, app)) == 3 and world.cache.entries(JOB, app))
    changed = [applied[0], secret(app, "env-2", A=TWO), applied[2], deployment(app, env={"A": "env-2"})]
    done, _, _ = await world.apply(app, changed)
    assert done == Applied(written=2, skipped=2 + BINDINGS, deleted=1)
    await eventually(lambda: len(world.cache.entries(REPLICA_SET, app)) == 2)
    assert (await world.apply(app, changed))[0].deleted == 0
    left = {one["metadata"]["name"] for one in kubectl.get("secrets", "-n", app)["items"]}
    assert left == {"env-1", "env-2", "env-job"}
    for old in [
        one["metadata"]["name"]
        for one in world.cache.objects(REPLICA_SET, app)
        if "env-1" in _secrets(kubectl, app, one)
    ]:
        await asyncio.to_thread(kubectl, "delete", "replicaset", old, "-n", app)
    await eventually(lambda: len(world.cache.entries(REPLICA_SET, app)) == 1)
    assert (await world.apply(app, changed))[0].deleted == 1
    left = {one["metadata"]["name"] for one in kubectl.get("secrets", "-n", app)["items"]}
    assert left == {"env-2", "env-job"}


async def test_a_secret_that_was_just_made_or_is_somebody_elses_work_stays(
    world: World, app: str, applied: list[Manifest]
) -> None:
    issued = secret(app, "auto-tls", A=ONE)
    issued["metadata"]["annotations"] = {"cert-manager.io/certificate-name": app}
    owner = (await world.seen(SERVICE, app, app))["metadata"]
    owned = secret(app, "owned", A=ONE)
    reference = {"apiVersion": "v1", "kind": "Service", "name": app, "uid": owner["uid"]}
    owned["metadata"]["ownerReferences"] = [reference]
    for one in (issued, owned, secret(app, "fresh", A=ONE)):
        await world.client.apply(one)
        await world.seen(SECRET, app, one["metadata"]["name"])
    careful = Applier(world.client, world.cache)
    assert await careful.apply(app, world.with_rights(app, applied)) == Applied(skipped=4 + BINDINGS)
    assert (await world.apply(app, applied))[0] == Applied(skipped=4 + BINDINGS, deleted=1)
    await eventually(lambda: set(world.cache.entries(SECRET, app)) == {"auto-tls", "owned", "env-1"})


async def test_kinds_that_the_cluster_lacks_are_told_and_the_rest_is_applied(world: World, app: str) -> None:
    if world.client.served.version(LISTENER_SET) is not None:
        pytest.skip("this cluster has every kind that we know")
    missing: Manifest = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "ListenerSet",
        "metadata": {"name": app, "namespace": app, "labels": names.labels(app)},
        "spec": {},
    }
    done, _, _ = await world.apply(app, [*whole(app), missing])
    assert done.written == 4 + BINDINGS
    assert [(error.kind, error.code) for error in done.errors] == [("ListenerSet", "cluster-not-found")]
    assert "This cluster has no ListenerSet (gateway.networking.k8s.io)" in done.errors[0].message
    assert "the Gateway API must be installed in it first" in done.errors[0].message
    assert (await world.apply(app, [*whole(app), missing]))[1:] == (0, 0)


def _secrets(kubectl: Kubectl, app: str, owner: Any) -> str:
    return json.dumps(live(kubectl, "replicaset", owner["metadata"]["name"], app)["spec"])


async def test_what_is_refused_is_told_in_the_servers_words_and_the_rest_is_applied(
    world: World, app: str, kubectl: Kubectl
) -> None:
    manifests = [*whole(app)[:2], service(app, app, port=70000), service(app, "other"), deployment(app)]
    done, _, _ = await world.apply(app, manifests)
    assert (done.written, len(done.errors)) == (4 + BINDINGS, 1)
    error = done.errors[0]
    assert (error.kind, error.name, error.code) == ("Service", app, "cluster-invalid")
    assert "must be between 1 and 65535" in error.message
    assert live(kubectl, "deployment", f"{app}-web", app)


async def test_workloads_wait_for_what_they_need(world: World, app: str, kubectl: Kubectl) -> None:
    broken = secret(app, "env-2", A="no base64!")
    done, _, _ = await world.apply(app, [namespace(app), broken, service(app, app), deployment(app)])
    assert [(error.kind, error.code) for error in done.errors] == [
        ("Secret", "cluster-invalid"),
        ("Deployment", "not-applied"),
    ]
    assert "it needs Secret env-2" in done.errors[1].message
    assert "no base64!" not in done.errors[0].message
    assert kubectl.get("deployments", "-n", app)["items"] == []


async def test_a_quota_that_is_used_up_is_told(world: World, app: str, kubectl: Kubectl) -> None:
    quota: Manifest = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": app, "labels": names.labels(app)},
        "spec": {"hard": {"services": "1"}},
    }
    await world.apply(app, [namespace(app), quota])

    async def is_counted() -> bool:  # until then the cluster may let everything pass
        found = await asyncio.to_thread(kubectl.get, "resourcequota", "quota", "-n", app)
        return bool(found.get("status", {}).get("hard"))

    await eventually(is_counted)
    done, _, _ = await world.apply(app, [namespace(app), quota, service(app, "a"), service(app, "b")])
    assert (done.written, done.skipped) == (1, 2 + BINDINGS)
    assert done.errors[0].code == "cluster-denied"
    assert "exceeded quota: quota" in done.errors[0].message


async def test_a_policy_that_denies_is_told_and_stops_nothing_else(
    world: World, app: str, applied: list[Manifest], kubectl: Kubectl
) -> None:
    policy = f"k3-{uuid4().hex[:8]}"
    objects = [
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": policy},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {
                    "resourceRules": [
                        {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"],
                         "resources": ["deployments"]}
                    ],
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": app}},
                },
                "validations": [
                    {"expression": "object.metadata.name.startsWith('allowed')", "message": "only allowed names"}
                ],
            },
        },
        {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": policy},
            "spec": {"policyName": policy, "validationActions": ["Deny"]},
        },
    ]  # fmt: skip
    await asyncio.to_thread(kubectl.apply, objects)
    try:
        changed = [*applied[:2], service(app, app, port=8080), deployment(app, env={"A": "env-1"}, replicas=None)]
        changed[3]["spec"]["minReadySeconds"] = 1

        async def denied() -> Applied | None:
            changed[3]["spec"]["minReadySeconds"] += 1
            done, _, _ = await world.apply(app, changed)
            return done if done.errors else None

        done = await eventually(denied, timeout=20)
        assert done is not None
        assert done.errors[0].kind == "Deployment"
        assert done.errors[0].code in ("cluster-invalid", "cluster-denied")
        assert "only allowed names" in done.errors[0].message
        assert live(kubectl, "service", app, app)["spec"]["ports"][0]["port"] == 8080
    finally:
        kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", policy, "--ignore-not-found")


@pytest.mark.parametrize("labels", [{}, {"heritage": "drycc"}, {**names.OURS, names.MANAGED_BY: "Helm"}])
async def test_a_namespace_that_is_not_ours_is_refused_in_words(
    world: World, app: str, kubectl: Kubectl, labels: dict[str, str]
) -> None:
    foreign = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": app, "labels": labels}}
    await asyncio.to_thread(kubectl, "create", "-f", "-", stdin=json.dumps(foreign))
    done, reads, writes = await world.apply(app, whole(app))
    assert (reads, writes) == (1, 1)  # a creation that was refused, and a look at what is there
    assert [(error.kind, error.code) for error in done.errors] == [("Namespace", "namespace-taken")]
    assert f"The namespace {app} is in the cluster already" in done.errors[0].message
    assert kubectl.get("services", "-n", app)["items"] == []
    await remove(world.client, world.cache, app, seconds=5)
    assert kubectl.get("namespace", app)["status"]["phase"] == "Active"


async def test_a_namespace_stuck_terminating_is_told_and_waited_for(world: World, app: str, kubectl: Kubectl) -> None:
    held = service(app, app)
    held["metadata"]["finalizers"] = ["k3.example.com/hold"]
    await world.apply(app, [namespace(app), held])
    try:
        with pytest.raises(StillThereError, match=f"The namespace {app} is not gone yet") as caught:
            await remove(world.client, world.cache, app, seconds=8)
        assert "k3.example.com/hold in 1 resource instances" in caught.value.detail
        done, _, writes = await world.apply(app, [namespace(app), service(app, app)])
        assert writes == 0
        assert [error.code for error in done.errors] == ["namespace-terminating"]
        assert "k3.example.com/hold" in done.errors[0].message
    finally:
        patch = '{"metadata":{"finalizers":null}}'
        kubectl("-n", app, "patch", "service", app, "--type=merge", "-p", patch)
    await remove(world.client, world.cache, app, seconds=30)
    assert world.cache.find(NAMESPACE, app, app) is None


async def test_weakness_45_an_app_is_gone_when_its_removal_returns(world: World, app: str, kubectl: Kubectl) -> None:
    volume: Manifest = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{app}-archive", "labels": names.labels(app)},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "storageClassName": "",
            "nfs": {"server": "nfs.example.com", "path": "/x"},
        },
    }
    await world.apply(app, [*whole(app)[:2], volume, *whole(app)[2:]])
    await remove(world.client, world.cache, app)
    for kind, name in (("namespace", app), ("persistentvolume", f"{app}-archive")):
        with pytest.raises(AssertionError, match="not found"):
            kubectl("get", kind, name)
    await remove(world.client, world.cache, app)
    done, _, _ = await world.apply(app, whole(app))
    assert done == Applied(written=4 + BINDINGS)


async def test_values_that_somebody_else_insists_on_are_not_fought_over(
    world: World, app: str, kubectl: Kubectl, applied: list[Manifest]
) -> None:
    """As a field that the API server drops, or that an admission webhook sets to something else."""
    changed = copy.deepcopy(applied)
    changed[3]["spec"]["template"]["spec"]["hostNetwork"] = False
    done, _, _ = await world.apply(app, changed)
    assert done.written == 1
    assert (await world.apply(app, changed))[2] == 0
    changed[3]["spec"]["minReadySeconds"] = 3
    assert (await world.apply(app, changed))[2] == 1
    assert (await world.apply(app, changed))[2] == 0
