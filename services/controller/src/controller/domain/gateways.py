"""Rules of gateways: which ports go together, which listeners they make, and what the default gateway does by itself.

controller-api.md 3.16 and 4.21.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from controller.domain.certificates import secret_name
from controller.domain.domains import Domain
from controller.domain.errors import InvalidFieldsError, InvalidValueError
from controller.domain.fields import REQUIRED
from controller.domain.ingress import Gateway, GatewayPort, IngressState, Route, port_number
from controller.domain.names import name_problem
from controller.domain.spec_network import ListenerSpec, ParentRef
from shared.errors import InvalidInputError

HTTP: Final = GatewayPort(80, "HTTP")
HTTPS: Final = GatewayPort(443, "HTTPS")
OCCUPIED: Final = "port is occupied"
_PROTOCOLS: Final = "^(HTTP|HTTPS|TCP|TLS|UDP)$"
_PREFIXES: Final[Mapping[str, str]] = {"HTTP": "tcp", "TCP": "tcp", "TLS": "tcp", "HTTPS": "mix", "UDP": "udp"}
_BY_HOST: Final = frozenset({"HTTP", "HTTPS", "TLS"})
_SECURE: Final = frozenset({"HTTPS", "TLS"})


def parse_gateway_port(app: str, body: Mapping[str, object]) -> tuple[str, GatewayPort]:
    """The gateway and the port that a request names. The app's own name is always a good name.

    Raises:
        InvalidFieldsError: something is missing.
        InvalidValueError: something is malformed.
    """
    missing = [field for field in ("name", "port", "protocol") if body.get(field) in (None, "")]
    if missing:
        raise InvalidFieldsError({field: [REQUIRED] for field in missing})
    port = port_number(body["port"])
    protocol = body["protocol"]
    if not (isinstance(protocol, str) and re.fullmatch(_PROTOCOLS, protocol)):
        raise InvalidValueError(f"the gateway protocol only supports: {_PROTOCOLS}")
    name = str(body["name"])
    if name != app and (problem := name_problem(name)) is not None:
        raise InvalidValueError(problem)
    return name, GatewayPort(port, protocol)


def is_occupied(ports: Iterable[GatewayPort], port: GatewayPort) -> bool:
    """Whether `port` collides: the same number with the same protocol, or with neither of them UDP."""
    return any(
        own.port == port.port and (own.protocol == port.protocol or "UDP" not in (own.protocol, port.protocol))
        for own in ports
    )


def add_port(ports: Iterable[GatewayPort], port: GatewayPort) -> tuple[GatewayPort, ...]:
    """The ports and one more.

    Raises:
        InvalidInputError: it collides.
    """
    known = tuple(ports)
    if is_occupied(known, port):
        raise InvalidInputError(OCCUPIED)
    return (*known, port)


def remove_port(ports: Iterable[GatewayPort], port: GatewayPort) -> tuple[GatewayPort, ...]:
    """The ports without that one.

    Raises:
        InvalidInputError: it is not among them.
    """
    known = tuple(ports)
    if port not in known:
        raise InvalidInputError("no matching listener exists")
    return tuple(own for own in known if own != port)


def listeners_of(gateway: Gateway, ingress: IngressState) -> tuple[ListenerSpec, ...]:
    """The listeners of a gateway: for HTTP, HTTPS and TLS one per domain, numbered from 1 in the order of their names;
    for what is not secured also one for every host, number 0."""
    domains = sorted(ingress.domains, key=lambda domain: domain.domain)
    listeners: list[ListenerSpec] = []
    for own in gateway.ports:
        name = f"{_PREFIXES[own.protocol]}-{own.port}"
        if own.protocol in _BY_HOST:
            listeners += [
                ListenerSpec(
                    name=f"{name}-{index}",
                    port=own.port,
                    protocol=own.protocol,
                    hostname=domain.domain,
                    certificate=_secret_of(domain, ingress) if own.protocol in _SECURE else None,
                )
                for index, domain in enumerate(domains, start=1)
            ]
        if own.protocol not in _SECURE:
            listeners.append(ListenerSpec(f"{name}-0", own.port, own.protocol))
    return tuple(listeners)


def auto_secret(app: str) -> str:
    """The secret with the certificate that comes by itself."""
    return f"{app}-auto-tls"


def with_https(gateway: Gateway, ingress: IngressState) -> Gateway:
    """The default gateway as it has to be: with 443/HTTPS iff the app has TLS. All others stay as they are."""
    if gateway.name != gateway.app or (HTTPS in gateway.ports) == ingress.has_tls:
        return gateway
    if not ingress.has_tls:
        return replace(gateway, ports=remove_port(gateway.ports, HTTPS))
    # A user's own port 443 of another protocol stays.
    return gateway if is_occupied(gateway.ports, HTTPS) else replace(gateway, ports=add_port(gateway.ports, HTTPS))


def with_https_parent(route: Route, gateway: Gateway | None) -> Route:
    """The default route as it has to be: attached to 443 of the default gateway iff that is there. All others stay."""
    if route.name != route.app or route.kind != "HTTPRoute":
        return route
    parent = ParentRef(route.app, HTTPS.port)
    wanted = gateway is not None and HTTPS in gateway.ports
    if (parent in route.parents) == wanted:
        return route
    others = tuple(own for own in route.parents if own != parent)
    return replace(route, parents=(*others, parent) if wanted else others)


def is_automatic(app: str, gateway: str, port: GatewayPort) -> bool:
    """Whether the platform itself sees to that port: 443/HTTPS of the default gateway."""
    return gateway == app and port == HTTPS


def _secret_of(domain: Domain, ingress: IngressState) -> str | None:
    if ingress.is_automatic(domain):
        return auto_secret(domain.app)
    return secret_name(domain.certificate) if domain.certificate else None
