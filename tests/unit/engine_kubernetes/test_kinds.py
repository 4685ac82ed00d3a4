"""The kinds that we handle and what a cluster may lack of them."""

from __future__ import annotations

import pytest

from controller.engine.kubernetes import kinds
from controller.engine.kubernetes.kinds import (
    CERTIFICATE,
    DEPLOYMENT,
    GATEWAY,
    HTTP_ROUTE,
    NAMESPACE,
    TLS_ROUTE,
    kind_of,
)
from shared.kubernetes.kinds import Served


def test_paths_are_those_of_the_api() -> None:
    assert NAMESPACE.path("v1", None, "shop") == "/api/v1/namespaces/shop"
    assert DEPLOYMENT.path("apps/v1") == "/apis/apps/v1/deployments"
    path = DEPLOYMENT.path("apps/v1", "shop", "shop-web", "scale")
    assert path == "/apis/apps/v1/namespaces/shop/deployments/shop-web/scale"
    assert kinds.PERSISTENT_VOLUME.path("v1", "shop", "x") == "/api/v1/persistentvolumes/x"
    assert kinds.SECRET.path("v1", "a/b", "../x") == "/api/v1/namespaces/a%2Fb/secrets/..%2Fx"


def test_a_kind_is_known_in_every_version_of_its_group() -> None:
    assert kind_of({"apiVersion": "gateway.networking.k8s.io/v1alpha2", "kind": "TLSRoute"}) is TLS_ROUTE
    assert kind_of({"apiVersion": "v1", "kind": "Namespace"}) is NAMESPACE
    with pytest.raises(KeyError):
        kind_of({"apiVersion": "v1", "kind": "ConfigMap"})


def test_a_cluster_without_addons_has_the_rest() -> None:
    served = Served(kinds.KINDS)
    assert served.learn({}) == frozenset()
    assert served.version(DEPLOYMENT) == "apps/v1"
    assert served.version(GATEWAY) is None
    assert "This cluster has no Gateway" in served.why_not(GATEWAY)
    assert "the Gateway API must be installed" in served.why_not(GATEWAY)
    assert "cert-manager must be installed" in served.why_not(CERTIFICATE)


def test_discovery_takes_the_best_version_and_tells_what_is_new() -> None:
    served = Served(kinds.KINDS)
    group = "gateway.networking.k8s.io"
    standard = {f"{group}/v1": ["gateways", "httproutes"]}
    assert served.learn(standard) == {GATEWAY, HTTP_ROUTE}
    assert served.learn(standard) == frozenset()
    assert served.learn({**standard, f"{group}/v1alpha2": ["tlsroutes"]}) == {TLS_ROUTE}
    assert served.version(TLS_ROUTE) == f"{group}/v1alpha2"
    served.learn({**standard, f"{group}/v1alpha2": ["tlsroutes"], f"{group}/v1alpha3": ["tlsroutes"]})
    assert served.version(TLS_ROUTE) == f"{group}/v1alpha3"
    assert served.learn({}) == frozenset()
    assert served.version(GATEWAY) is None


def test_core_kinds_are_never_forgotten() -> None:
    served = Served(kinds.KINDS)
    served.learn({"gateway.networking.k8s.io/v1": ["gateways"]})
    served.forget(GATEWAY)
    served.forget(DEPLOYMENT)
    assert served.version(GATEWAY) is None
    assert served.version(DEPLOYMENT) == "apps/v1"


def test_only_secrets_are_watched_by_namespace() -> None:
    """Nobody may list the Secrets of a whole cluster (kubernetes.md 4.3)."""
    assert [kind.kind for kind in kinds.ALL if kind.watched == "namespace"] == ["Secret"]


def test_what_others_depend_on_is_pruned_last() -> None:
    order = [kind.kind for kind in kinds.PRUNED]
    assert order.index("HTTPRoute") < order.index("Gateway") < order.index("Service")
    assert order.index("Deployment") < order.index("PersistentVolumeClaim") < order.index("Secret")
    assert not {"Namespace", "Pod", "Job", "ReplicaSet", "Event"} & set(order)
