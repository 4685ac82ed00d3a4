"""The kinds of objects that we handle, in the order in which they are applied, and which of them the cluster has.

The Gateway API and cert-manager may be missing: their kinds are optional, and one that is missing has a sentence that
says so. Everything else works without them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from shared.kubernetes import kinds as general
from shared.kubernetes.kinds import Addon, Manifest

Scope = Literal["cluster", "namespace"]
"""How a kind is watched: with one watch for all apps, or with one in each of their namespaces."""


@dataclass(frozen=True)
class Kind(general.Kind):
    """One kind of the objects that apps are made of.

    `order` is the place in the sequence of apply, which some kinds share, None for what others make of our objects.
    `is_pruned`: one that is not rendered any more is deleted. `is_prerequisite`: when one cannot be written, the app's
    workloads are left as they are. `labelled`: only objects with our labels are watched. `is_shown`: the API reads it,
    so that a process of the API alone watches it as well.
    """

    order: int | None = None
    watched: Scope = "cluster"
    labelled: bool = True
    is_pruned: bool = True
    is_prerequisite: bool = False
    is_shown: bool = False


_GATEWAY = "gateway.networking.k8s.io"

NAMESPACE: Final = Kind(
    "Namespace", "namespaces", namespaced=False, order=0, is_pruned=False, is_prerequisite=True, is_shown=True
)
# Our own rights in the namespace: nothing else can be written there without them.
ROLE_BINDING: Final = Kind(
    "RoleBinding", "rolebindings", versions=("rbac.authorization.k8s.io/v1",), order=1, is_prerequisite=True
)
RESOURCE_QUOTA: Final = Kind("ResourceQuota", "resourcequotas", order=2)
LIMIT_RANGE: Final = Kind("LimitRange", "limitranges", order=2)
NETWORK_POLICY: Final = Kind("NetworkPolicy", "networkpolicies", versions=("networking.k8s.io/v1",), order=2)
SERVICE_ACCOUNT: Final = Kind("ServiceAccount", "serviceaccounts", order=2, is_prerequisite=True)
# Nobody may list the Secrets of a whole cluster (kubernetes.md 4.3): one watch in each namespace of ours.
SECRET: Final = Kind("Secret", "secrets", order=3, watched="namespace", is_prerequisite=True)
PERSISTENT_VOLUME: Final = Kind(
    "PersistentVolume", "persistentvolumes", namespaced=False, order=4, is_prerequisite=True
)
PERSISTENT_VOLUME_CLAIM: Final = Kind(
    "PersistentVolumeClaim", "persistentvolumeclaims", order=5, is_prerequisite=True, is_shown=True
)
SERVICE: Final = Kind("Service", "services", order=6)
DEPLOYMENT: Final = Kind("Deployment", "deployments", versions=("apps/v1",), order=7, is_shown=True)
HORIZONTAL_POD_AUTOSCALER: Final = Kind(
    "HorizontalPodAutoscaler", "horizontalpodautoscalers", versions=("autoscaling/v2",), order=8
)
JOB: Final = Kind("Job", "jobs", versions=("batch/v1",), order=8, is_pruned=False, is_shown=True)
GATEWAY: Final = Kind("Gateway", "gateways", versions=(f"{_GATEWAY}/v1",), order=9, addon="gateway-api", is_shown=True)
LISTENER_SET: Final = Kind("ListenerSet", "listenersets", versions=(f"{_GATEWAY}/v1",), order=9, addon="gateway-api")
X_LISTENER_SET: Final = Kind(
    "XListenerSet",
    "xlistenersets",
    versions=("gateway.networking.x-k8s.io/v1alpha1",),
    order=9,
    addon="gateway-api-experimental",
)


def _route(kind: str, *before: str, addon: Addon = "gateway-api-experimental") -> Kind:
    """A kind of routes; `before` are the versions that it had on its way to v1."""
    versions = tuple(f"{_GATEWAY}/{version}" for version in ("v1", *before))
    return Kind(kind, f"{kind.lower()}s", versions=versions, order=9, addon=addon)


HTTP_ROUTE: Final = _route("HTTPRoute", addon="gateway-api")
GRPC_ROUTE: Final = _route("GRPCRoute", addon="gateway-api")
TLS_ROUTE: Final = _route("TLSRoute", "v1alpha3", "v1alpha2")
TCP_ROUTE: Final = _route("TCPRoute", "v1alpha2")
UDP_ROUTE: Final = _route("UDPRoute", "v1alpha2")
ROUTES: Final = (HTTP_ROUTE, GRPC_ROUTE, TLS_ROUTE, TCP_ROUTE, UDP_ROUTE)
ISSUER: Final = Kind(
    "Issuer", "issuers", versions=("cert-manager.io/v1",), order=10, addon="cert-manager", is_shown=True
)
CERTIFICATE: Final = Kind(
    "Certificate", "certificates", versions=("cert-manager.io/v1",), order=11, addon="cert-manager", is_shown=True
)
REPLICA_SET: Final = Kind("ReplicaSet", "replicasets", versions=("apps/v1",), is_pruned=False, is_shown=True)
POD: Final = Kind("Pod", "pods", is_pruned=False, is_shown=True)
EVENT: Final = Kind("Event", "events", versions=("events.k8s.io/v1",), labelled=False, is_pruned=False, is_shown=True)
NODE: Final = Kind("Node", "nodes", namespaced=False, labelled=False, is_pruned=False, is_shown=True)

ALL: Final = (  # what others depend on comes before them
    NAMESPACE,
    ROLE_BINDING,
    RESOURCE_QUOTA,
    LIMIT_RANGE,
    NETWORK_POLICY,
    SERVICE_ACCOUNT,
    SECRET,
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    SERVICE,
    DEPLOYMENT,
    HORIZONTAL_POD_AUTOSCALER,
    JOB,
    GATEWAY,
    LISTENER_SET,
    X_LISTENER_SET,
    HTTP_ROUTE,
    GRPC_ROUTE,
    TLS_ROUTE,
    TCP_ROUTE,
    UDP_ROUTE,
    ISSUER,
    CERTIFICATE,
    REPLICA_SET,
    POD,
    EVENT,
    NODE,
)
WATCHED: Final = ALL
"""What a process watches that writes apps."""
SHOWN: Final = tuple(kind for kind in ALL if kind.is_shown)
"""What a process of the API watches that leaves writing to others: no Secrets."""
PRUNED: Final = tuple(kind for kind in reversed(ALL) if kind.is_pruned and kind.order is not None)
"""Kinds whose objects go when they are not rendered any more, what depends on others first."""

KINDS: Final = general.Kinds(ALL)


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """See `Kinds.of`."""
    return KINDS.of(manifest)


def address(manifest: Manifest) -> tuple[Kind, str | None, str]:
    """See `Kinds.address`."""
    return KINDS.address(manifest)
