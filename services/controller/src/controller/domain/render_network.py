"""What is stored about an app's network to what the engine is to make of it. Pure; controller-api.md 4.20 to 4.22."""

from __future__ import annotations

from controller.domain.certificates import secret_name
from controller.domain.gateways import listeners_of
from controller.domain.ingress import IngressState, Route
from controller.domain.routes import carries, hosts_of
from controller.domain.spec_network import (
    CertificateSpec,
    GatewaySpec,
    IngressRouteSpec,
    IssuerSpec,
    ListenerSpec,
    NetworkSpec,
    ParentRef,
    ServiceSpec,
)

_BY_HOST = frozenset({"HTTPRoute", "GRPCRoute", "TLSRoute"})


def render_network(ingress: IngressState) -> NetworkSpec:
    """The network of an app, everything in the order of names: the same rows give the same spec."""
    gateways = tuple(
        GatewaySpec(gateway.name, listeners_of(gateway, ingress))
        for gateway in sorted(ingress.gateways, key=lambda gateway: gateway.name)
    )
    listeners = {gateway.name: gateway.listeners for gateway in gateways}
    routable = sorted((route for route in ingress.routes if route.routable), key=lambda route: route.name)
    return NetworkSpec(
        services=tuple(
            ServiceSpec(service.name, service.ptype, tuple(sorted(service.ports, key=lambda port: port.port)))
            for service in sorted(ingress.services, key=lambda service: service.name)
        ),
        gateways=gateways,
        routes=tuple(_route(route, ingress, listeners) for route in routable),
        certificates=_certificates(ingress),
        issuer=_issuer(ingress),
        auto_hostnames=tuple(sorted(each.domain for each in ingress.domains if ingress.is_automatic(each))),
    )


def _route(route: Route, ingress: IngressState, listeners: dict[str, tuple[ListenerSpec, ...]]) -> IngressRouteSpec:
    domains = hosts_of(route, ingress) if route.kind in _BY_HOST else ()
    redirects = ingress.https_enforced and route.kind == "HTTPRoute"
    return IngressRouteSpec(
        name=route.name,
        kind=route.kind,
        parents=tuple(parent for parent in route.parents if _is_there(parent, route.kind, listeners)),
        hostnames=tuple(domain.domain for domain in domains),
        rules=route.rules,
        redirect_hostnames=tuple(
            domain.domain for domain in domains if redirects and (ingress.is_automatic(domain) or domain.certificate)
        ),
        https_enforced=redirects,
    )


def _is_there(parent: ParentRef, kind: str, listeners: dict[str, tuple[ListenerSpec, ...]]) -> bool:
    """A port that was taken from its gateway leaves references behind, which count again when it comes back."""
    return any(
        listener.port == parent.port and carries(kind, listener.protocol)
        for listener in listeners.get(parent.gateway, ())
    )


def _certificates(ingress: IngressState) -> tuple[CertificateSpec, ...]:
    used = {domain.certificate for domain in ingress.domains}
    return tuple(
        CertificateSpec(secret_name(certificate.name), certificate.certificate, certificate.key)
        for certificate in sorted(ingress.certificates, key=lambda certificate: certificate.name)
        if certificate.name in used
    )


def _issuer(ingress: IngressState) -> IssuerSpec | None:
    if ingress.tls is None or not ingress.auto_certs:
        return None
    issuer = ingress.tls.issuer
    return IssuerSpec(issuer.email, issuer.server, issuer.key_id, issuer.key_secret)
