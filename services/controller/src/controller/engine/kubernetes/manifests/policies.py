"""Who may reach the pods of an app (kubernetes.md 1.17)."""

from __future__ import annotations

from ipaddress import ip_network

from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.manifests.base import Manifest, app_object, present

_EVERYWHERE = {4: "0.0.0.0/0", 6: "::/0"}
_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def network_policy(app: str, config: KubernetesConfig) -> Manifest:
    """The app itself, the platform and its gateways, and everybody outside of the cluster; no other app."""
    trusted = sorted({config.platform_namespace, *config.gateway_namespaces})
    peers: list[Manifest] = [
        {"podSelector": {}},
        {"namespaceSelector": {"matchExpressions": [{"key": _NAMESPACE_NAME, "operator": "In", "values": trusted}]}},
        *({"ipBlock": _public(version, config)} for version in _EVERYWHERE),
    ]
    return app_object(
        "networking.k8s.io/v1",
        "NetworkPolicy",
        app,
        names.rules(app),
        spec={"podSelector": {}, "policyTypes": ["Ingress"], "ingress": [{"from": peers}]},
    )


def _public(version: int, config: KubernetesConfig) -> Manifest:
    private = [network for network in config.private_networks if ip_network(network).version == version]
    return present({"cidr": _EVERYWHERE[version], "except": private})
