"""What the engine can do for the network of apps follows what the cluster has, and it says what is missing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from controller.domain.render_network import render_network
from controller.engine.kubernetes.config import KubernetesConfig
from controller.engine.kubernetes.engine import KubernetesEngine
from controller.engine.port import NotSupportedError
from shared.kubernetes.transport import Kubeconfig
from support.kubernetes_networks import SHARED, domain, tls, web_app, with_domains

Found = dict[str, tuple[str, ...]]
GATEWAY_API: Found = {"gateway.networking.k8s.io/v1": ("gateways", "httproutes", "grpcroutes")}
EXPERIMENTAL: Found = {"gateway.networking.k8s.io/v1alpha2": ("tcproutes", "udproutes", "tlsroutes")}
CERT_MANAGER: Found = {"cert-manager.io/v1": ("issuers", "certificates")}
NETWORK = frozenset({"gateways", "wildcards", "tls", "acme"})
MANY = render_network(with_domains(web_app(), *(domain(f"d{n}.example.org") for n in range(40)), tls=tls(auto=True)))


def engine(found: Found | None, config: KubernetesConfig = SHARED) -> KubernetesEngine:
    """One that has found this in the cluster; None: it has not looked yet."""
    made = KubernetesEngine(Kubeconfig(Path("none")), config)
    if found is not None:
        made.client.served.learn(found)
    return made


async def test_everything_is_there() -> None:
    whole = engine(GATEWAY_API | EXPERIMENTAL | CERT_MANAGER)
    assert whole.features >= NETWORK
    assert [whole.why_not(what) for what in (*NETWORK, "HTTPRoute", "TCPRoute", "UDPRoute")] == [None] * 7


async def test_users_certificates_need_no_cert_manager() -> None:
    without = engine(GATEWAY_API)
    assert without.features & NETWORK == NETWORK - {"acme"}
    assert without.why_not("acme") == (
        "This cluster has no Issuer (cert-manager.io): cert-manager must be installed in it first."
    )
    assert without.why_not("HTTPRoute") is None
    assert without.why_not("TCPRoute") == (
        "This cluster has no TCPRoute (gateway.networking.k8s.io): the experimental channel of the Gateway API must be "
        "installed in it first."
    )


async def test_without_gateways_there_is_no_network_but_everything_else() -> None:
    without = engine(CERT_MANAGER)
    assert without.features & NETWORK == set()
    assert without.features >= {"volumes", "autoscale", "tags"}
    for what in (*NETWORK, "HTTPRoute"):
        assert (without.why_not(what) or "").startswith("This cluster has no Gateway (gateway.networking.k8s.io): ")
    assert without.why_not("volumes") is None


async def test_without_a_class_the_operator_is_named() -> None:
    without = engine(GATEWAY_API | CERT_MANAGER, KubernetesConfig())
    assert without.features & NETWORK == set()
    assert "CONTROLLER_GATEWAY_CLASS" in (without.why_not("gateways") or "")


async def test_a_cluster_that_has_not_answered_is_not_said_to_lack_anything() -> None:
    unknown = engine(None)
    assert unknown.features & NETWORK == set()
    assert "try again" in (unknown.why_not("tls") or "")


async def test_networks_are_checked_where_there_are_gateways() -> None:
    with pytest.raises(NotSupportedError, match="81 listeners"):
        engine(GATEWAY_API | CERT_MANAGER).check_network("tidepool", MANY)
    engine(GATEWAY_API, replace(SHARED, gateway_listeners="listenersets")).check_network("tidepool", MANY)
    engine({}).check_network("tidepool", MANY)
