"""Networks to render for Kubernetes, made of rows as the API leaves them: each shows one side of the renderers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from controller.domain.certificates import Certificate
from controller.domain.domains import Domain
from controller.domain.gateways import HTTP, HTTPS, with_https
from controller.domain.ingress import Gateway, GatewayPort, IngressState, Route, Service
from controller.domain.render_network import render_network
from controller.domain.routes import default_rules
from controller.domain.spec_network import NetworkSpec, ParentRef, ServicePort
from controller.domain.tls import DEFAULT_ISSUER, Issuer, Tls
from controller.engine.kubernetes.config import KubernetesConfig, PlatformCertificate
from controller.engine.kubernetes.manifests.base import Manifest
from controller.engine.kubernetes.manifests.network import render_network_manifests

APP: Final = "tidepool"
ALONE: Final = KubernetesConfig(gateway_class="traefik")
"""Every gateway has an address of its own."""
SHARED: Final = replace(ALONE, app_domain="apps.example.com")
"""All apps come in by one entry."""
PLATFORM: Final = replace(SHARED, platform_certificate=PlatformCertificate("drycc", "apps-certificate"))

_NOW: Final = datetime(2026, 1, 5, 10, tzinfo=UTC)
_ISSUER: Final = Issuer("ann@example.org", "https://acme.example.net/directory", "kid-1", "a+b/c-secret==")


def domain(name: str, ptype: str = "web", certificate: str | None = None, *, app: str = APP) -> Domain:
    """A domain of the app."""
    return Domain(1, app, "ann", name, name, ptype, certificate, _NOW, _NOW)


def certificate(name: str, pem: str | None = None, key: str | None = None) -> Certificate:
    """A certificate of the app."""
    pair = (pem or f"PEM of {name}", key or f"key of {name}")
    return Certificate(1, APP, "ann", name, *pair, None, (), "", _NOW, _NOW, "", "", (), _NOW, _NOW)


def tls(*, auto: bool = False, enforced: bool = False, issuer: Issuer = DEFAULT_ISSUER) -> Tls:
    """TLS settings of the app."""
    return Tls(UUID(int=1), APP, "ann", issuer, enforced, auto, _NOW, _NOW)


def route(name: str, kind: str, parents: Iterable[ParentRef], *rules: Mapping[str, Any], app: str = APP) -> Route:
    """A route of the app."""
    return Route(1, app, "ann", kind, name, rules, True, tuple(parents), _NOW, _NOW)


def to(service: str, port: int) -> dict[str, Any]:
    """A rule with one backend."""
    return {"backendRefs": [{"kind": "Service", "name": service, "port": port}]}


def web_app(app: str = APP, port: int = 5000) -> IngressState:
    """What every app has after its first deploy."""
    return IngressState(
        services=(Service(1, app, "web", (ServicePort(80, "TCP", port),)),),
        gateways=(Gateway(1, app, "ann", app, (HTTP,)),),
        routes=(route(app, "HTTPRoute", [ParentRef(app, 80)], *default_rules(app), app=app),),
    )


def with_domains(
    state: IngressState, *domains: Domain, tls: Tls | None = None, certificates: Iterable[Certificate] = ()
) -> IngressState:
    """The same with domains, and with what follows for its default gateway and route."""
    new = replace(state, domains=domains, tls=tls, certificates=tuple(certificates))
    new = replace(new, gateways=tuple(with_https(gateway, new) for gateway in new.gateways))
    if new.has_tls:
        routes = (
            replace(own, parents=(*own.parents, ParentRef(own.app, 443))) if own.name == own.app else own
            for own in new.routes
        )
        new = replace(new, routes=tuple(routes))
    return new


def _all_kinds() -> IngressState:
    gateway = Gateway(
        2,
        APP,
        "ann",
        "edge",
        (GatewayPort(5432, "TCP"), GatewayPort(5353, "UDP"), GatewayPort(8443, "TLS"), GatewayPort(9443, "HTTPS")),
    )
    worker = Service(2, APP, "worker", (ServicePort(53, "UDP", 5353), ServicePort(5432, "TCP", 5432)))
    api = Service(3, APP, "api", (ServicePort(443, "TCP", 8443), ServicePort(9000, "TCP", 9000)))
    routes = (
        route("database", "TCPRoute", [ParentRef("edge", 5432)], to(worker.name, 5432)),
        route("names", "UDPRoute", [ParentRef("edge", 5353)], to(worker.name, 53)),
        route("sealed", "TLSRoute", [ParentRef("edge", 8443)], to(api.name, 443)),
        route("calls", "GRPCRoute", [ParentRef("edge", 9443)], to(api.name, 9000)),
        route(
            "versions",
            "HTTPRoute",
            [ParentRef(APP, 80), ParentRef("edge", 9443)],
            {
                "name": "v2",
                "matches": [{"path": {"type": "PathPrefix", "value": "/v2"}, "method": "GET"}],
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
                    }
                ],
                "timeouts": {"request": "10s"},
                **to(api.name, 9000),
            },
        ),
    )
    state = web_app()
    state = replace(
        state,
        services=(*state.services, worker, api),
        gateways=(*state.gateways, gateway),
        routes=(*state.routes, *routes),
    )
    return with_domains(state, domain("api.example.org", "api", "cert-a"), certificates=(certificate("cert-a"),))


def with_grpc_parents(spec: NetworkSpec) -> NetworkSpec:
    """The same with what the API cannot make: a GRPCRoute that is attached to something (kubernetes.md 1.13)."""
    parents = (ParentRef("edge", 9443),)
    routes = (replace(own, parents=parents) if own.kind == "GRPCRoute" else own for own in spec.routes)
    return replace(spec, routes=tuple(routes))


def _two_gateways() -> IngressState:
    state = web_app()
    other = Gateway(2, APP, "ann", "edge", (GatewayPort(8080, "HTTP"), HTTPS))
    parents = (ParentRef(APP, 80), ParentRef("edge", 8080), ParentRef("edge", 443))
    default = replace(state.routes[0], parents=parents)
    state = replace(state, gateways=(*state.gateways, other), routes=(default,))
    return with_domains(
        state, domain("tidepool.example.org", certificate="cert-a"), certificates=(certificate("cert-a"),)
    )


@dataclass(frozen=True)
class Case:
    """A network and the operator's choices."""

    network: NetworkSpec
    config: KubernetesConfig = SHARED

    def render(self) -> tuple[Manifest, ...]:
        """Its objects."""
        return render_network_manifests(APP, self.network, self.config)


_TWO_DOMAINS: Final = (domain("www.example.org"), domain("shop"))
_AUTO: Final = with_domains(web_app(), *_TWO_DOMAINS, tls=tls(auto=True, enforced=True, issuer=_ISSUER))

CASES: Final[Mapping[str, Case]] = {
    "network-default": Case(render_network(web_app())),
    "network-default-alone": Case(render_network(web_app()), ALONE),
    "network-no-gateway-class": Case(render_network(web_app()), KubernetesConfig()),
    "network-user-certificate": Case(
        render_network(
            with_domains(
                web_app(),
                domain("plain.example.org"),
                domain("www.example.org", certificate="cert-a"),
                tls=tls(enforced=True),
                certificates=(certificate("cert-a"),),
            )
        )
    ),
    "network-auto-tls": Case(render_network(_AUTO)),
    "network-auto-tls-private-ca": Case(render_network(_AUTO), replace(SHARED, acme_ca_bundle="UEVN")),
    "network-auto-tls-alone": Case(render_network(_AUTO), ALONE),
    "network-wildcard": Case(
        render_network(
            with_domains(
                web_app(),
                domain("*.example.org"),
                domain("*.example.net", certificate="cert-a"),
                tls=tls(auto=True, enforced=True),
                certificates=(certificate("cert-a"),),
            )
        )
    ),
    "network-all-kinds": Case(with_grpc_parents(render_network(_all_kinds()))),
    "network-two-gateways": Case(render_network(_two_gateways())),
    "network-not-routable": Case(
        render_network(replace(web_app(), routes=tuple(replace(own, routable=False) for own in web_app().routes)))
    ),
    "network-platform-certificate": Case(
        render_network(with_domains(web_app(), *_TWO_DOMAINS, tls=tls(enforced=True))), PLATFORM
    ),
    "network-listener-sets": Case(render_network(_AUTO), replace(SHARED, gateway_listeners="xlistenersets")),
}
