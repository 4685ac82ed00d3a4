"""The kinds of objects that we handle, in the order in which they are applied, and which of them the cluster has.

The Gateway API and cert-manager may be missing: their kinds are optional, and one that is missing has a sentence that
says so. Everything else works without them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal
from urllib.parse import quote

Manifest = dict[str, Any]
"""An object as the API server reads and writes it."""

Addon = Literal["gateway-api", "gateway-api-experimental", "cert-manager"]
Scope = Literal["cluster", "namespace"]
"""How a kind is watched: with one watch for all apps, or with one in each of their namespaces."""

_ADDON_NAMES: Final[Mapping[Addon, str]] = {
    "gateway-api": "the Gateway API",
    "gateway-api-experimental": "the experimental channel of the Gateway API",
    "cert-manager": "cert-manager",
}


@dataclass(frozen=True)
class Kind:
    """One kind of objects.

    `versions` are those of its group that we can speak, the favourite first; which one the cluster serves is found by
    discovery where the kind is part of an `addon`. `order` is the place in the sequence of apply, which some kinds
    share, None for what others make of our objects. `is_pruned`: one that is not rendered any more is deleted.
    `is_prerequisite`: when one cannot be written, the app's workloads are left as they are. `labelled`: only objects
    with our labels are watched. `is_shown`: the API reads it, so that a process of the API alone watches it as well.
    """

    kind: str
    plural: str
    versions: tuple[str, ...] = ("v1",)
    namespaced: bool = True
    order: int | None = None
    addon: Addon | None = None
    watched: Scope = "cluster"
    labelled: bool = True
    is_pruned: bool = True
    is_prerequisite: bool = False
    is_shown: bool = False

    @property
    def group(self) -> str:
        """The API group; empty for the core."""
        return self.versions[0].rpartition("/")[0]

    def path(self, version: str, namespace: str | None = None, name: str | None = None, subresource: str = "") -> str:
        """The path on the API server: of one object, or of the list of all (of a namespace) without a name."""
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        middle = f"/namespaces/{quote(namespace, safe='')}" if self.namespaced and namespace is not None else ""
        end = "" if name is None else f"/{quote(name, safe='')}"
        return f"{root}{middle}/{self.plural}{end}" + (f"/{subresource}" if subresource else "")


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

_BY_NAME: Final = {(kind.group, kind.kind): kind for kind in ALL}


def kind_of(manifest: Mapping[str, Any]) -> Kind:
    """The kind of an object, whatever version of its group it is written in.

    Raises:
        KeyError: we do not handle that kind.
    """
    return _BY_NAME[str(manifest["apiVersion"]).rpartition("/")[0], manifest["kind"]]


def address(manifest: Manifest) -> tuple[Kind, str | None, str]:
    """Kind, namespace (None for what has none) and name of an object."""
    kind = kind_of(manifest)
    metadata = manifest["metadata"]
    return kind, metadata["namespace"] if kind.namespaced else None, metadata["name"]


def called(kind: Kind, namespace: str | None, name: str | None) -> str:
    """What an object, or the list of all, is called in sentences."""
    place = "/".join(part for part in (namespace, name) if part is not None)
    return f"{kind.kind} {place}" if place else f"all {kind.kind} objects"


class Served:
    """Which versions the cluster serves. Until discovery, optional kinds count as missing."""

    def __init__(self) -> None:
        self._versions: dict[Kind, str] = {kind: kind.versions[0] for kind in ALL if kind.addon is None}
        self.is_known = False
        """Discovery has been made."""

    def learn(self, resources: Mapping[str, Iterable[str]]) -> frozenset[Kind]:
        """Take over what discovery found: the plurals that each group version has. Gives the kinds that are new."""
        found = {version: frozenset(plurals) for version, plurals in resources.items()}
        self.is_known = True
        new = set()
        for kind in ALL:
            if kind.addon is None:
                continue
            version = next((version for version in kind.versions if kind.plural in found.get(version, ())), None)
            if version is None:
                self._versions.pop(kind, None)
            elif self._versions.get(kind) != version:
                self._versions[kind] = version
                new.add(kind)
        return frozenset(new)

    def forget(self, kind: Kind) -> None:
        """The cluster says that it has this optional kind no more."""
        if kind.addon is not None:
            self._versions.pop(kind, None)

    def version(self, kind: Kind) -> str | None:
        """The version in which the cluster serves the kind; None when it does not."""
        return self._versions.get(kind)

    def kinds(self) -> frozenset[Kind]:
        """Every kind that there is."""
        return frozenset(self._versions)

    def why_not(self, kind: Kind) -> str:
        """A sentence for people who want an object of a kind that the cluster does not have."""
        addon = _ADDON_NAMES[kind.addon] if kind.addon else "a complete Kubernetes"
        where = kind.group or "the core API"
        return f"This cluster has no {kind.kind} ({where}): {addon} must be installed in it first."


def optional_versions() -> tuple[str, ...]:
    """The group versions that discovery has to ask for."""
    return tuple(dict.fromkeys(version for kind in ALL if kind.addon is not None for version in kind.versions))
