"""What the cache keeps of objects: no values of Secrets, nothing that nobody reads."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

from controller.engine.kubernetes.kinds import DEPLOYMENT, EVENT, JOB, NODE, POD, REPLICA_SET, SECRET
from controller.engine.kubernetes.trim import DIGESTS, entry_of, interned, version_of

MANAGED = [{"manager": "workflow-controller", "operation": "Apply", "fieldsV1": {"f:spec": {"f:replicas": {}}}}]
METADATA = {"name": "x", "namespace": "shop", "uid": "u", "resourceVersion": "41", "managedFields": MANAGED}
CONTAINER = {
    "name": "web",
    "image": "shop:1",
    "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "env-1", "key": "A"}}}, {"name": "B", "value": "1"}],
    "envFrom": [{"secretRef": {"name": "env-2"}}, {"configMapRef": {"name": "no"}}],
    "readinessProbe": {"tcpSocket": {"port": 1}},
}
POD_SPEC: dict[str, Any] = {
    "containers": [CONTAINER],
    "initContainers": [{"name": "i", "env": [{"valueFrom": {"secretKeyRef": {"name": "env-3", "key": "A"}}}]}],
    "imagePullSecrets": [{"name": "pull"}],
    "volumes": [
        {"name": "t", "secret": {"secretName": "tls"}},
        {"name": "p", "projected": {"sources": [{"secret": {"name": "projected"}}, {"downwardAPI": {}}]}},
    ],
    "tolerations": [{"key": "a"}],
    "nodeName": "node1",
}
SECRETS = {"env-1", "env-2", "env-3", "pull", "tls", "projected"}


def test_weakness_50_values_of_secrets_are_not_kept() -> None:
    live = {"kind": "Secret", "metadata": METADATA, "data": {"password": "aHVudGVyMg=="}, "type": "Opaque"}
    entry = entry_of(SECRET, live)
    text = json.dumps(entry.object)
    assert "aHVudGVyMg==" not in text
    assert "hunter2" not in text
    assert set(entry.object[DIGESTS]) == {"password"}
    assert "data" in live


def test_digests_are_good_in_this_process_only() -> None:
    import hashlib

    entry = entry_of(SECRET, {"metadata": METADATA, "data": {"pin": "MTIzNA=="}})
    digest = entry.object[DIGESTS]["pin"]
    assert digest == entry_of(SECRET, {"metadata": METADATA, "stringData": {"pin": "1234"}}).object[DIGESTS]["pin"]
    assert digest != hashlib.blake2b(b"1234", digest_size=16).hexdigest()


def test_metadata_loses_its_noise() -> None:
    noise = {"kubectl.kubernetes.io/last-applied-configuration": "{...}", "mine": "1"}
    entry = entry_of(SECRET, {"metadata": {**METADATA, "annotations": noise, "selfLink": "/x"}})
    assert entry.object["metadata"] == {"name": "x", "namespace": "shop", "uid": "u", "annotations": {"mine": "1"}}
    assert (entry.version, entry.uid, entry.is_terminating) == (41, "u", False)


def test_pods_keep_what_explains_them_and_tell_their_secrets() -> None:
    pod = {"metadata": METADATA, "spec": POD_SPEC, "status": {"phase": "Pending"}}
    entry = entry_of(POD, pod)
    assert entry.secrets - {""} == SECRETS
    assert entry.object["spec"]["containers"] == [{"name": "web", "image": "shop:1"}]
    assert entry.object["spec"]["nodeName"] == "node1"
    assert "tolerations" not in entry.object["spec"]
    assert entry.object["status"] == {"phase": "Pending"}


def test_owners_of_pods_tell_their_secrets_too() -> None:
    template = {"metadata": {"annotations": {"a": "1"}}, "spec": POD_SPEC}
    owner = {"metadata": METADATA, "spec": {"replicas": 2, "template": template}}
    for kind in (REPLICA_SET, JOB, DEPLOYMENT):
        entry = entry_of(kind, owner)
        assert entry.secrets - {""} == SECRETS
        assert entry.object["spec"]["replicas"] == 2
        assert entry.object["spec"]["template"]["metadata"] == {"annotations": {"a": "1"}}
    assert "spec" not in entry_of(REPLICA_SET, owner).object["spec"]["template"]
    assert entry_of(DEPLOYMENT, owner).object["spec"] == owner["spec"]


def test_objects_with_holes_are_kept_as_they_are() -> None:
    for kind in (POD, REPLICA_SET, JOB, DEPLOYMENT, SECRET, EVENT):
        for spec in ({}, {"spec": None}, {"spec": {"template": None, "containers": None}}):
            assert entry_of(kind, {"metadata": {"name": "x"}, **spec}).version == 0


def test_the_owner_of_replicas_is_known() -> None:
    def owns(**managed: object) -> bool:
        metadata = {**METADATA, "managedFields": [{**MANAGED[0], **managed}]}
        return entry_of(DEPLOYMENT, {"metadata": metadata, "spec": {}}).owns_replicas

    assert owns()
    assert not owns(manager="kubectl")
    assert not owns(subresource="scale")
    assert not owns(fieldsV1={"f:spec": {}})
    assert not entry_of(DEPLOYMENT, {"metadata": {"name": "x"}, "spec": {}}).owns_replicas


def test_versions_are_numbers_or_unknown() -> None:
    assert [version_of(text) for text in ("12", "", "a1", None, 7, "²")] == [12, 0, 0, 0, 0, 0]


def test_equal_objects_share_their_texts() -> None:
    text = json.dumps({"metadata": METADATA, "spec": POD_SPEC})
    assert interned(json.loads(text)) == json.loads(text)

    def kept(make: Any) -> int:
        tracemalloc.start()
        objects = [make(json.loads(text)) for _ in range(200)]
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(objects) == 200
        return size

    assert kept(interned) < 0.8 * kept(lambda value: value)


def heartbeat(second: int, *, ready: str = "True", version: str = "7") -> dict[str, Any]:
    """A machine as it reports every few seconds."""
    at = f"2026-01-05T10:00:{second:02}Z"
    conditions = [
        {"type": kind, "status": status, "lastHeartbeatTime": at, "lastTransitionTime": at, "message": "..."}
        for kind, status in (("MemoryPressure", "False"), ("Ready", ready))
    ]
    images = [{"names": [f"example.com/image-{number}"], "sizeBytes": number} for number in range(50)]
    return {
        "metadata": {
            "name": "node1",
            "uid": "n",
            "resourceVersion": version,
            "labels": {"disk": "ssd"},
            "annotations": {"a": at},
            "managedFields": MANAGED,
        },
        "spec": {"podCIDR": "10.244.0.0/24", "taints": []},
        "status": {"conditions": conditions, "images": images, "nodeInfo": {"kubeletVersion": "v1"}},
    }


def test_a_machine_that_says_that_it_is_alive_is_no_change() -> None:
    before, after = (entry_of(NODE, heartbeat(second, version=str(second))) for second in (5, 15))
    assert before.object == after.object
    assert (before.version, after.version) == (5, 15)
    assert before.object == {
        "metadata": {"name": "node1", "uid": "n", "labels": {"disk": "ssd"}},
        "spec": {"unschedulable": False},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    }
    assert entry_of(NODE, heartbeat(25, ready="Unknown")).object != before.object
