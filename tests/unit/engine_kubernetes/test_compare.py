"""What counts as a difference between a rendered object and a live one, and what does not."""

from __future__ import annotations

import base64
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.engine.kubernetes import names
from controller.engine.kubernetes.compare import differences, stamped
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.kinds import kind_of
from controller.engine.kubernetes.manifests import render, render_job
from controller.engine.kubernetes.trim import entry_of
from shared.kubernetes.kinds import Manifest
from support.kubernetes_specs import CAREFUL, JOB, RICH

LABELS = names.labels("shop", "web")
DEPLOYMENT: Manifest = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop-web", "namespace": "shop", "labels": LABELS, "annotations": {"a": "1"}},
    "spec": {
        "replicas": 2,
        "selector": {"matchLabels": names.selector("shop", "web")},
        "template": {
            "metadata": {"labels": dict(LABELS)},
            "spec": {
                "nodeSelector": {"disk": "ssd"},
                "securityContext": {},
                "automountServiceAccountToken": False,
                "containers": [
                    {
                        "name": "shop-web",
                        "image": "shop:1",
                        "args": ["run", "web"],
                        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "s", "key": "A"}}}],
                        "resources": {"limits": {"cpu": "250m", "memory": "512Mi"}},
                        "readinessProbe": {"tcpSocket": {"port": 5000}, "initialDelaySeconds": 0},
                    }
                ],
            },
        },
    },
}
SERVICE: Manifest = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "shop", "namespace": "shop", "labels": LABELS},
    "spec": {"selector": {"app": "shop"}, "ports": [{"name": "tcp-80", "port": 80, "targetPort": 5000}]},
}


def paths(desired: Manifest, live: Manifest) -> set[str]:
    return {path for path, _ in differences(desired, entry_of(kind_of(live), live).object)}


def changed(manifest: Manifest, *path: str | int, to: object) -> Manifest:
    """A copy in which the field at that path is another; `to` None takes it away."""
    copied = copy.deepcopy(manifest)
    place: Any = copied
    for step in path[:-1]:
        place = place[step]
    if to is None:
        del place[path[-1]]
    else:
        place[path[-1]] = to
    return copied


CONTAINER = ("spec", "template", "spec", "containers", 0)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("metadata", "uid"), "u-1"),
        (("metadata", "annotations", "sidecar.example.com/status"), "injected"),
        (("metadata", "labels", "team"), "blue"),
        (("status",), {"replicas": 2}),
        (("spec", "progressDeadlineSeconds"), 600),
        (("spec", "template", "spec", "securityContext"), None),
        (("spec", "template", "spec", "schedulerName"), "default-scheduler"),
        ((*CONTAINER, "imagePullPolicy"), "IfNotPresent"),
        ((*CONTAINER, "readinessProbe"), {"tcpSocket": {"port": 5000}, "periodSeconds": 10}),
        ((*CONTAINER, "resources", "limits"), {"cpu": "0.25", "memory": "512Mi"}),
        ((*CONTAINER, "env", 0, "valueFrom", "secretKeyRef", "optional"), False),
    ],
)
def test_what_others_add_is_no_difference(path: tuple[str | int, ...], value: object) -> None:
    assert paths(DEPLOYMENT, changed(DEPLOYMENT, *path, to=value)) == set()


def test_elements_that_others_add_to_keyed_lists_are_no_difference() -> None:
    live = copy.deepcopy(DEPLOYMENT)
    pod = live["spec"]["template"]["spec"]
    pod["containers"][0]["env"].insert(0, {"name": "INJECTED", "value": "1"})
    pod["containers"].insert(0, {"name": "proxy", "image": "proxy:1"})
    pod["volumes"] = [{"name": "proxy", "emptyDir": {}}]
    assert paths(DEPLOYMENT, live) == set()


@pytest.mark.parametrize(
    ("path", "value", "seen"),
    [
        (("metadata", "labels", "heritage"), "other", "metadata.labels.heritage"),
        (("metadata", "annotations", "a"), None, "metadata.annotations.a"),
        (("spec", "replicas"), 5, "spec.replicas"),
        ((*CONTAINER, "image"), "shop:2", "spec.template.spec.containers.image"),
        ((*CONTAINER, "args"), ["run", "web", "-v"], "spec.template.spec.containers.args"),
        ((*CONTAINER, "args"), ["run", "bew"], "spec.template.spec.containers.args"),
        ((*CONTAINER, "env"), [], "spec.template.spec.containers.env"),
        (
            (*CONTAINER, "resources", "limits", "cpu"),
            "300m",
            "spec.template.spec.containers.resources.limits.cpu",
        ),
        (("spec", "template", "spec", "nodeSelector", "zone"), "b", "spec.template.spec.nodeSelector"),
        (
            ("spec", "template", "spec", "automountServiceAccountToken"),
            None,
            "spec.template.spec.automountServiceAccountToken",
        ),
        (
            ("spec", "template", "spec", "automountServiceAccountToken"),
            0,
            "spec.template.spec.automountServiceAccountToken",
        ),
    ],
)
def test_drift_is_found(path: tuple[str | int, ...], value: object, seen: str) -> None:
    assert paths(DEPLOYMENT, changed(DEPLOYMENT, *path, to=value)) == {seen}


def test_a_missing_container_is_found() -> None:
    live = changed(DEPLOYMENT, *CONTAINER, "name", to="other")
    assert paths(DEPLOYMENT, live) == {"spec.template.spec.containers"}


def test_ports_are_known_by_number_and_protocol() -> None:
    live = copy.deepcopy(SERVICE)
    live["spec"]["ports"][0] |= {"protocol": "TCP", "nodePort": 30000}
    live["spec"] |= {"clusterIP": "10.96.0.9", "sessionAffinity": "None"}
    assert paths(SERVICE, live) == set()
    live["spec"]["ports"][0]["protocol"] = "UDP"
    assert paths(SERVICE, live) == {"spec.ports"}
    live["spec"]["selector"]["extra"] = "1"
    assert paths(SERVICE, live) == {"spec.ports", "spec.selector"}


def test_finalizers_are_a_set() -> None:
    desired = changed(SERVICE, "metadata", "finalizers", to=["a"])
    assert paths(desired, changed(SERVICE, "metadata", "finalizers", to=["b", "a"])) == set()
    assert paths(desired, changed(SERVICE, "metadata", "finalizers", to=["b"])) == {"metadata.finalizers"}


def secret(**data: str) -> Manifest:
    values = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    metadata = {"name": "s", "namespace": "shop", "labels": LABELS}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": values}


def test_secrets_are_compared_by_digest() -> None:
    assert paths(secret(a="1", b="2"), secret(a="1", b="2")) == set()
    assert paths(secret(a="1"), secret(a="1", foreign="2")) == set()
    assert paths(secret(a="1", b="2"), secret(a="1", b="3")) == {"digests.b"}
    assert paths(secret(a="1"), secret()) == {"digests.a"}
    given_as_text = {**secret(), "stringData": {"a": "1"}}
    assert paths(given_as_text, secret(a="1")) == set()


def test_a_job_is_as_it_was_made_though_the_cache_keeps_little_of_its_pods() -> None:
    for job in render_job(JOB, KubernetesConfig()):
        wanted = stamped(job)
        assert differences(wanted, entry_of(kind_of(wanted), copy.deepcopy(wanted)).object) == frozenset()


def test_a_field_that_is_not_rendered_any_more_changes_the_stamp() -> None:
    less = changed(DEPLOYMENT, *CONTAINER, "env", to=[])
    assert paths(less, DEPLOYMENT) == set()
    assert paths(stamped(less), stamped(DEPLOYMENT)) == {"metadata.annotations.workflow.drycc.cc/manifest"}
    assert stamped(DEPLOYMENT) == stamped(copy.deepcopy(DEPLOYMENT))
    assert stamped(DEPLOYMENT)["metadata"]["annotations"]["a"] == "1"
    assert names.MANIFEST not in DEPLOYMENT["metadata"]["annotations"]


def test_the_stamp_of_a_secret_tells_nothing_of_its_values() -> None:
    stamps = {stamped(secret(a=value))["metadata"]["annotations"][names.MANIFEST] for value in ("1", "2")}
    assert len(stamps) == 1
    assert stamped(secret(b="1"))["metadata"]["annotations"][names.MANIFEST] not in stamps


@pytest.mark.parametrize("index", range(len(render(RICH, CAREFUL))))
def test_everything_that_is_rendered_equals_itself(index: int) -> None:
    manifest = stamped(render(RICH, CAREFUL)[index])
    assert paths(manifest, copy.deepcopy(manifest)) == set()


def leaves(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every scalar that was rendered; what is nothing in any case is left out."""
    if isinstance(value, dict):
        return [found for key, part in value.items() for found in leaves(part, (*path, key))]
    if isinstance(value, list):
        return [found for index, part in enumerate(value) for found in leaves(part, (*path, index))]
    return [path]


MANIFESTS = [stamped(manifest) for manifest in render(RICH, CAREFUL)]
LEAVES = [
    (index, path)
    for index, manifest in enumerate(MANIFESTS)
    for path in leaves(manifest)
    if path[0] not in ("apiVersion", "kind")
]


@given(st.sampled_from(LEAVES))
@settings(max_examples=200, deadline=None)
def test_no_edit_of_anything_rendered_escapes(leaf: tuple[int, tuple[str | int, ...]]) -> None:
    index, path = leaf
    assert paths(MANIFESTS[index], changed(MANIFESTS[index], *path, to="edited"))
