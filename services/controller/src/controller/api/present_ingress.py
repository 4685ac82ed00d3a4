"""Services, gateways and routes as the JSON that clients know."""

from __future__ import annotations

from collections.abc import Iterable

from controller.api.documents_ingress import (
    AddressDocument,
    GatewayDocument,
    ListenerDocument,
    RouteDocument,
    Rules,
    ServiceDocument,
)
from controller.api.present import instant
from controller.domain.ingress import Route, Rule, Service
from controller.domain.spec_network import Address, ListenerSpec
from controller.services.gateways import GatewayView


def service(value: Service, *, cluster_domain: str) -> ServiceDocument:
    """A service, with the name that it has inside a cluster."""
    return {
        "name": value.name,
        "domain": f"{value.name}.{value.app}.svc.{cluster_domain}",
        "ports": [
            {"name": port.name, "port": port.port, "protocol": port.protocol, "targetPort": port.target_port}
            for port in value.ports
        ],
        "ptype": value.ptype,
    }


def gateway(value: GatewayView, addresses: Iterable[Address]) -> GatewayDocument:
    """A gateway, with the addresses that the engine gave it."""
    shown: list[AddressDocument] = [{"type": address.type, "value": address.value} for address in addresses]
    return {
        "app": value.gateway.app,
        "owner": value.gateway.owner,
        "name": value.gateway.name,
        "listeners": [_listener(listener) for listener in value.listeners],
        "addresses": shown,
    }


def route(value: Route) -> RouteDocument:
    """A route."""
    return {
        "id": value.id,
        "app": value.app,
        "owner": value.owner,
        "kind": value.kind,
        "name": value.name,
        "rules": rules(value.rules),
        "parent_refs": [{"name": parent.gateway, "port": parent.port} for parent in value.parents],
        "created": instant(value.created),
        "updated": instant(value.updated),
        "routable": value.routable,
    }


def rules(value: Iterable[Rule]) -> Rules:
    """The rules of a route."""
    return [dict(rule) for rule in value]


def _listener(value: ListenerSpec) -> ListenerDocument:
    document: ListenerDocument = {
        "allowedRoutes": {"namespaces": {"from": "All"}},
        "name": value.name,
        "port": value.port,
        "protocol": value.protocol,
    }
    if value.hostname is not None:
        document["hostname"] = value.hostname
    if value.certificate is not None:
        document["tls"] = {"certificateRefs": [{"kind": "Secret", "name": value.certificate}]}
    return document
