"""An app's services, gateways and routes as values, and the rules for the ports that they are made of.

The network of an app is small (a handful of each), so that it is always read and judged as a whole: `IngressState`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Final

from controller.domain.certificates import Certificate
from controller.domain.domains import WILDCARD, Domain
from controller.domain.errors import InvalidFieldsError, InvalidValueError
from controller.domain.fields import REQUIRED
from controller.domain.names import WEB, ptype_problem
from controller.domain.spec_network import ParentRef, ServicePort
from controller.domain.tls import Tls
from shared.errors import InvalidInputError

MOST_SERVICE_NAME: Final = 63
"""Longest name of a service, in characters (a DNS label, RFC 1035)."""
MOST_OBJECTS: Final = 100
"""How many services, gateways and routes each an app can have, besides those that come by themselves."""
MOST_PORTS: Final = 64
"""How many ports a service or a gateway can have; a Gateway of the Gateway API has no more listeners."""
_SERVICE_PROTOCOLS: Final = "^(TCP|UDP|SCTP)$"


@dataclass(frozen=True)
class Service:
    """What of a process type can be reached inside the platform."""

    id: int
    app: str
    ptype: str
    ports: tuple[ServicePort, ...]

    @property
    def name(self) -> str:
        """The name that routes and other apps know it by."""
        return service_name(self.app, self.ptype)

    def has_port(self, port: object) -> bool:
        """Whether it has a port of that number."""
        return any(own.port == port for own in self.ports)


@dataclass(frozen=True)
class GatewayPort:
    """A port that a gateway listens on; `protocol` is HTTP, HTTPS, TCP, TLS or UDP."""

    port: int
    protocol: str


@dataclass(frozen=True)
class Gateway:
    """Where requests come in."""

    id: int
    app: str
    owner: str
    name: str
    ports: tuple[GatewayPort, ...]


Rule = Mapping[str, object]
"""A rule of a route, as the Gateway API has it."""


@dataclass(frozen=True)
class Route:
    """From ports of gateways (`parents`) to services (the backends in `rules`)."""

    id: int
    app: str
    owner: str
    kind: str
    name: str
    rules: tuple[Rule, ...]
    routable: bool
    parents: tuple[ParentRef, ...]
    created: datetime
    updated: datetime


@dataclass(frozen=True)
class IngressState:
    """Everything stored about the network of one app. Services, gateways and routes are newest first, domains by name.

    `certificates` need not be there unless a domain has one and its key is wanted; without `tls` there is none.
    """

    services: tuple[Service, ...] = ()
    gateways: tuple[Gateway, ...] = ()
    routes: tuple[Route, ...] = ()
    domains: tuple[Domain, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    tls: Tls | None = None

    def service(self, ptype: str) -> Service | None:
        """The service of that process type."""
        return next((service for service in self.services if service.ptype == ptype), None)

    def gateway(self, name: str) -> Gateway | None:
        """The gateway of that name."""
        return next((gateway for gateway in self.gateways if gateway.name == name), None)

    def route(self, name: str) -> Route | None:
        """The route of that name."""
        return next((route for route in self.routes if route.name == name), None)

    def with_gateway(self, gateway: Gateway) -> IngressState:
        """The same with this gateway in place of the one of its name; without ports it is none."""
        others = tuple(own for own in self.gateways if own.name != gateway.name)
        return replace(self, gateways=(gateway, *others) if gateway.ports else others)

    def with_route(self, route: Route) -> IngressState:
        """The same with this route in place of the one of its name."""
        return replace(self, routes=(route, *(own for own in self.routes if own.name != route.name)))

    @property
    def auto_certs(self) -> bool:
        """Certificates for all domains come by themselves."""
        return self.tls is not None and self.tls.certs_auto_enabled is True

    def is_automatic(self, domain: Domain) -> bool:
        """The certificate for this domain comes by itself: ACME gives none for wildcards over HTTP (RFC 8555 8.4)."""
        return self.auto_certs and not domain.domain.startswith(WILDCARD)

    @property
    def https_enforced(self) -> bool:
        """Plain HTTP is answered with a redirect where there is TLS."""
        return self.tls is not None and self.tls.https_enforced is True

    @property
    def has_tls(self) -> bool:
        """Some domain has, or will get, a certificate: the default gateway listens on 443 then (4.21)."""
        return (self.auto_certs and bool(self.domains)) or any(domain.certificate for domain in self.domains)


@dataclass(frozen=True)
class PortRequest:
    """Which port of a process type's service is meant."""

    ptype: str
    port: int
    protocol: str


def service_name(app: str, ptype: str) -> str:
    """The app's own name for `web`, `<app>-<ptype>` for all others."""
    return app if ptype == WEB else f"{app}-{ptype}"


def port_number(value: object) -> int:
    """A port, sent as a number or as its digits.

    Raises:
        InvalidValueError: it is none.
    """
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidValueError("port can only be a numeric value")
    if not 0 < value < 65536:
        raise InvalidValueError("port needs to be between 1 and 65535")
    return value


def parse_service_port(body: Mapping[str, object]) -> PortRequest:
    """The process type, port and protocol (TCP by default) that a request names.

    Raises:
        InvalidValueError: one of them is malformed; InvalidFieldsError: there is no process type.
    """
    ptype = required(body, "ptype")
    port = port_number(body.get("port"))
    protocol = body.get("protocol") or "TCP"
    if not (isinstance(protocol, str) and re.fullmatch(_SERVICE_PROTOCOLS, protocol)):
        raise InvalidValueError(f"the service protocol only supports: {_SERVICE_PROTOCOLS}")
    if (problem := ptype_problem(ptype)) is not None:
        raise InvalidValueError(problem)
    return PortRequest(ptype, port, protocol)


def required(body: Mapping[str, object], field: str) -> str:
    """A text that has to be there.

    Raises:
        InvalidFieldsError: it is not.
    """
    value = body.get(field)
    if not isinstance(value, str) or not value:
        raise InvalidFieldsError.of(field, REQUIRED)
    return value


def add_service_port(ports: Iterable[ServicePort], port: ServicePort) -> tuple[ServicePort, ...]:
    """The ports and one more.

    Raises:
        InvalidInputError: its number is taken, by whatever protocol.
    """
    known = tuple(ports)
    if any(own.port == port.port for own in known):
        raise InvalidInputError("port is occupied")
    return (*known, port)


def refuse_more(there: Sized, what: str) -> None:
    """Refuse one more service, gateway or route than an app can have.

    Raises:
        InvalidInputError: it has as many.
    """
    if len(there) >= MOST_OBJECTS:
        raise InvalidInputError(f"an app can have {MOST_OBJECTS} {what} at most: remove one first")


def refuse_more_ports(ports: Sized, owner: str) -> None:
    """Refuse one more port than a service or a gateway can have.

    Raises:
        InvalidInputError: it has as many.
    """
    if len(ports) >= MOST_PORTS:
        raise InvalidInputError(f"a {owner} can have {MOST_PORTS} ports at most: remove one first")


def check_service_name(app: str, ptype: str) -> None:
    """Refuse a service whose name would be no DNS label.

    Raises:
        InvalidValueError: it is too long.
    """
    name = service_name(app, ptype)
    if len(name) > MOST_SERVICE_NAME:
        problem = f"the name of the service would be {name}, longer than {MOST_SERVICE_NAME} characters"
        raise InvalidValueError(f"{problem}: choose a shorter process type")
