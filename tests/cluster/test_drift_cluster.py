"""Whatever somebody deletes or edits of an app in the cluster is as it was within 5 s, and what is theirs stays theirs.

An engine with exactly the rights of `rbac` follows its own `watch` and applies what it hears of, as the worker does.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

import pytest
import pytest_asyncio

from controller.domain.render_network import render_network
from controller.domain.spec import AppSpec, Autoscale, ProcessSpec
from controller.domain.spec_storage import Mount, VolumeSpec
from controller.domain.tls import Issuer
from controller.engine.kubernetes import names
from controller.engine.kubernetes.engine import KubernetesEngine
from controller.engine.kubernetes.kinds import NAMESPACE, SECRET, address
from controller.engine.kubernetes.manifests import render
from controller.engine.port import StillThereError
from shared.errors import SuiteError
from shared.kubernetes.kinds import Manifest
from shared.kubernetes.transport import Kubeconfig
from shared.testing.wait import eventually
from support.cluster_rights import Rights
from support.kubectl import Kubectl
from support.kubernetes_networks import SHARED, certificate, domain, tls, web_app, with_domains

pytestmark = pytest.mark.timeout(180)
HEALED_SECONDS: Final = 5.0
"""The issue's bound."""
IDLE_SECONDS: Final = 3.0
_SLEEP: Final = ("sh", "-c", "trap exit TERM; sleep 10000 & wait")


@dataclass
class Keeper:
    """An engine that keeps one app as it should be."""

    engine: KubernetesEngine
    spec: AppSpec
    manifests: tuple[Manifest, ...]
    kubectl: Kubectl
    errors: list[SuiteError] = field(default_factory=list)

    async def run(self) -> None:
        """Apply it whenever something of it has changed."""
        async for app in self.engine.watch():
            if app == self.spec.app:
                with suppress(SuiteError):
                    await self.engine.apply(self.spec)

    async def run_kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints."""
        return await asyncio.to_thread(lambda: self.kubectl(*arguments, stdin=stdin))

    async def live(self, manifest: Manifest) -> Any:
        """The object as it is now; None when there is none."""
        text = await self.run_kubectl("get", *place(manifest), "--ignore-not-found", "-o", "json")
        return json.loads(text) if text.strip() else None

    async def writes_in_idleness(self) -> int:
        """How much is written while nothing happens."""
        before = self.engine.client.calls.writes
        await asyncio.sleep(IDLE_SECONDS)
        return self.engine.client.calls.writes - before


def place(manifest: Manifest) -> tuple[str, ...]:
    """An object as kubectl names it."""
    kind, namespace, name = address(manifest)
    where = () if namespace is None else ("-n", namespace)
    return (f"{kind.plural}.{kind.group}" if kind.group else kind.plural, name, *where)


def everything(app: str) -> AppSpec:
    """An app that makes the engine write every kind that it writes; one pod of it runs."""
    web = ProcessSpec(
        "web",
        0,
        2,
        "busybox:1",
        "container",
        command=_SLEEP,
        env={"PORT": "5000", "COLOUR": "blue"},
        port=5000,
        mounts=(Mount("uploads", "/data"), Mount("archive", "/archive")),
        registry={"username": "bot", "password": "b-secret"},
    )
    worker = ProcessSpec("worker", 1, 2, "busybox:1", "container", command=_SLEEP, env={"COLOUR": "blue"})
    issuer = Issuer("ann@example.org", "https://acme.example.net/directory", "kid-1", "a+b/c-secret==")
    network = with_domains(
        web_app(app),
        domain(f"www.{app}.example.org", app=app),
        domain(f"own.{app}.example.org", certificate="cert-a", app=app),
        tls=tls(auto=True, enforced=True, issuer=issuer),
        certificates=(certificate("cert-a"),),
    )
    return AppSpec(
        app,
        (web, worker),
        network=render_network(network),
        volumes=(
            VolumeSpec("uploads", "csi", 1),
            VolumeSpec("archive", "nfs", None, {"nfs": {"server": "nfs.example.net", "path": "/exports"}}),
        ),
        autoscale=(Autoscale("worker", 1, 3, 80),),
        quota={"hard": {"pods": "10"}},
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def keeper(kubectl: Kubectl, rights: Rights) -> AsyncIterator[Keeper]:
    """The engine at work on an app of every kind, which is settled."""
    config = replace(
        rights.config(SHARED),
        network_policy=True,
        volume_access_mode="ReadWriteOnce",
        namespace_labels={"team": "blue"},
    )
    engine = KubernetesEngine(Kubeconfig(rights.kubeconfig(rights.whole)), config)
    spec = everything(f"hf-{uuid4().hex[:10]}")
    await engine.start()
    keeper = Keeper(engine, spec, (), kubectl)
    task = asyncio.create_task(keeper.run())
    try:
        await engine.apply(spec)
        hosts = frozenset(spec.network.auto_hostnames)
        keeper.manifests = tuple(render(spec, config, pending=hosts))
        await eventually(lambda: _is_idle(keeper), timeout=30)
        yield keeper
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        with suppress(StillThereError):
            await engine.remove(spec.app)
        await engine.close()


async def _is_idle(keeper: Keeper) -> bool:
    before = keeper.engine.client.calls.writes
    await asyncio.sleep(1)
    return keeper.engine.client.calls.writes == before


async def test_weakness_24_whatever_is_deleted_comes_back(keeper: Keeper) -> None:
    """One kind after the other, all objects of a kind at once. The namespace itself is another matter: it takes its
    time to go."""
    kinds: dict[str, list[Manifest]] = {}
    for manifest in keeper.manifests:
        if address(manifest)[0] is not NAMESPACE:
            kinds.setdefault(manifest["kind"], []).append(manifest)
    assert set(kinds) >= {
        "Certificate",
        "Deployment",
        "Gateway",
        "HTTPRoute",
        "HorizontalPodAutoscaler",
        "Issuer",
        "LimitRange",
        "NetworkPolicy",
        "PersistentVolume",
        "PersistentVolumeClaim",
        "ResourceQuota",
        "RoleBinding",
        "Secret",
        "Service",
        "ServiceAccount",
    }
    kinds["PersistentVolumeClaim"] += kinds.pop("PersistentVolume")  # which goes when nothing claims it any more
    took = {}
    for kind, manifests in kinds.items():
        before = {one["metadata"]["name"]: await keeper.live(one) for one in manifests}
        objects = ("/".join(place(one)[:2]) for one in manifests)
        await keeper.run_kubectl("delete", *objects, "-n", keeper.spec.app, "--wait=false")
        took[kind] = await _heals(keeper, manifests, before, is_new=True)
    del took["PersistentVolumeClaim"]  # the cluster takes its time to let go of the two
    assert {kind: seconds for kind, seconds in took.items() if seconds > HEALED_SECONDS} == {}
    assert await keeper.writes_in_idleness() == 0


_STRAY: Final = {"app.kubernetes.io/managed-by": "somebody"}
EDITS: Final[Mapping[str, Mapping[str, Any]]] = {
    "Deployment": {
        "metadata": {"labels": {"heritage": None}},
        "spec": {
            "minReadySeconds": 9,
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "{name}",
                            "image": "busybox:edited",
                            "env": [{"name": "COLOUR", "value": "red", "valueFrom": None}],
                        }
                    ]
                }
            },
        },
    },
    "Gateway": {"spec": {"gatewayClassName": "edited"}},
    "HTTPRoute": {"spec": {"hostnames": ["edited.example.org"], "rules": None}},
    "HorizontalPodAutoscaler": {"spec": {"maxReplicas": 9}},
    "Certificate": {"spec": {"dnsNames": ["edited.example.org"]}},
    "Issuer": {"spec": {"acme": {"email": "edited@example.org"}}},
    "LimitRange": {"spec": {"limits": []}},
    "Namespace": {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged", "team": "edited"}}},
    "NetworkPolicy": {"spec": {"ingress": [{}]}},
    "PersistentVolume": {"metadata": {"labels": _STRAY}},
    "PersistentVolumeClaim": {"metadata": {"labels": _STRAY}},
    "ResourceQuota": {"spec": {"hard": {"pods": "99"}}},
    "RoleBinding": {"subjects": []},
    "Secret": {"metadata": {"labels": {"heritage": None}}},
    "Service": {
        "metadata": {"labels": {"type": "edited"}},
        "spec": {"selector": {"type": "edited"}, "ports": [{"port": 80, "targetPort": 9}]},
    },
    "ServiceAccount": {"automountServiceAccountToken": True},
}
"""What somebody changes of the first object of each kind; `{name}` stands for its name."""


async def test_weakness_13_24_whatever_is_edited_is_as_it_was(keeper: Keeper) -> None:
    first: dict[str, Manifest] = {}
    for manifest in keeper.manifests:
        first.setdefault(manifest["kind"], manifest)
    assert set(first) == set(EDITS)
    took = {}
    for kind, manifest in first.items():
        name = manifest["metadata"]["name"]
        before = {name: await keeper.live(manifest)}
        patch = json.dumps(EDITS[kind]).replace("{name}", name)
        merge = "merge" if address(manifest)[0].addon else "strategic"
        writes = keeper.engine.client.calls.writes
        await keeper.run_kubectl("patch", *place(manifest), f"--type={merge}", "-p", patch)
        took[kind] = await _heals(keeper, [manifest], before, is_new=False)
        assert 1 <= keeper.engine.client.calls.writes - writes <= 4, kind
    assert {kind: seconds for kind, seconds in took.items() if seconds > HEALED_SECONDS} == {}
    assert await keeper.writes_in_idleness() == 0


async def test_a_namespace_without_our_mark_gets_it_back(keeper: Keeper) -> None:
    """It is ours all the same: what we have applied has a note that says so."""
    space = keeper.manifests[0]
    before = {space["metadata"]["name"]: await keeper.live(space)}
    await keeper.run_kubectl("label", *place(space), "heritage-", "app.kubernetes.io/managed-by-")
    assert await _heals(keeper, [space], before, is_new=False) < HEALED_SECONDS
    assert await keeper.writes_in_idleness() == 0


async def test_weakness_19_what_others_add_stays(keeper: Keeper) -> None:
    """Notes and labels on everything, a sidecar, a port, the count of an autoscaled process type."""
    for manifest in keeper.manifests:
        await keeper.run_kubectl("annotate", *place(manifest), "example.org/note=theirs")
        await keeper.run_kubectl("label", *place(manifest), "example.org/team=theirs")
    app = keeper.spec.app
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "proxy", "image": "busybox:1"}]}}}}
    port = {"spec": {"ports": [{"name": "metrics", "port": 9100}]}}
    deployments = [one for one in keeper.manifests if one["kind"] == "Deployment"]
    web = next(one for one in deployments if one["metadata"]["name"].endswith("-web"))
    worker = next(one for one in deployments if one is not web)
    service = next(one for one in keeper.manifests if one["kind"] == "Service")
    await keeper.run_kubectl("patch", *place(web), "-p", json.dumps(sidecar))
    await keeper.run_kubectl("patch", *place(service), "-p", json.dumps(port))
    await keeper.run_kubectl("scale", *place(worker), "--replicas=2")
    assert await keeper.writes_in_idleness() == 0
    for manifest in keeper.manifests:
        metadata = (await keeper.live(manifest))["metadata"]
        assert metadata["annotations"]["example.org/note"] == "theirs", manifest["kind"]
        assert metadata["labels"]["example.org/team"] == "theirs", manifest["kind"]
    containers = (await keeper.live(web))["spec"]["template"]["spec"]["containers"]
    assert {one["name"] for one in containers} == {f"{app}-web", "proxy"}
    assert {one["port"] for one in (await keeper.live(service))["spec"]["ports"]} == {80, 9100}
    # The autoscaler may have another mind by now; it is none of ours.
    scaled = json.loads(await keeper.run_kubectl("get", *place(worker), "-o", "json", "--show-managed-fields"))
    owners = {one["manager"] for one in scaled["metadata"]["managedFields"] if "f:replicas" in _spec_fields(one)}
    assert names.FIELD_MANAGER not in owners


def _spec_fields(managed: Mapping[str, Any]) -> Mapping[str, Any]:
    return dict((managed.get("fieldsV1") or {}).get("f:spec") or {})


async def _heals(keeper: Keeper, manifests: list[Manifest], before: Mapping[str, Any], *, is_new: bool) -> float:
    """Seconds until the objects are what they were before; other objects of the same names when they were deleted."""
    loop = asyncio.get_running_loop()
    started = loop.time()

    async def is_healed() -> bool:
        for manifest in manifests:
            was, now = before[manifest["metadata"]["name"]], await keeper.live(manifest)
            assert now is not None, f"{manifest['kind']} is not back"
            assert (now["metadata"]["uid"] != was["metadata"]["uid"]) == is_new or address(manifest)[0] is SECRET
            assert "deletionTimestamp" not in now["metadata"], f"{manifest['kind']} is going"
            assert _kept(now) == _kept(was)
        return True

    await eventually(is_healed, timeout=4 * HEALED_SECONDS)
    return loop.time() - started


def _kept(live: Mapping[str, Any]) -> Any:
    """What is ours to say of an object: nothing that the cluster chooses for each."""
    chosen = ("clusterIP", "clusterIPs", "volumeName", "claimRef", "revision", "finalizers")
    spec = live.get("spec")
    facts = {key: live.get(key) for key in ("data", "subjects", "roleRef", "automountServiceAccountToken")}
    if isinstance(spec, Mapping):
        facts["spec"] = {key: value for key, value in spec.items() if key not in chosen}
        if live["kind"] == "Namespace":
            del facts["spec"]
    return facts | {"labels": live["metadata"].get("labels")}
