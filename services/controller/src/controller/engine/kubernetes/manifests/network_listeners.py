"""The listeners that an app's gateways have in a cluster: with whole host names, stable names and real certificates.

Where the apps share one entry (`config.app_domain`), no listener takes every host name: what implements the gateways
merges the routes of all apps that come in by a port, and a route for every name would take the requests of others
(Traefik 3 puts a longer path before a host name). The app's own host stands for "every name" there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from controller.domain.domains import WILDCARD, full_host
from controller.domain.spec_network import GatewaySpec, ListenerSpec, NetworkSpec
from controller.engine.kubernetes import names
from controller.engine.kubernetes.config import KubernetesConfig

HTTP: Final = "HTTP"
HTTPS: Final = "HTTPS"
TLS: Final = "TLS"
HTTP_PORT: Final = 80
HTTPS_PORT: Final = 443
CARRIED: Final[Mapping[str, frozenset[str]]] = {
    "HTTPRoute": frozenset({HTTP, HTTPS}),
    "GRPCRoute": frozenset({HTTP, HTTPS}),
    "TLSRoute": frozenset({TLS}),
    "TCPRoute": frozenset({"TCP"}),
    "UDPRoute": frozenset({"UDP"}),
}
"""The protocols of the listeners that a route of each kind can be attached to."""


@dataclass(frozen=True)
class SecretRef:
    """A Secret with a key pair; `namespace` None is the app's own."""

    name: str
    namespace: str | None = None


@dataclass(frozen=True)
class Listener:
    """A listener as the cluster gets it. `hostname` None takes every name; without a `certificate` HTTPS does not occur
    and TLS is passed through. `implied`: nobody asked for it; what is attached to port 80 of its gateway is to be
    attached to it as well."""

    gateway: str
    port: int
    protocol: str
    hostname: str | None = None
    certificate: SecretRef | None = None
    implied: bool = False

    @property
    def name(self) -> str:
        """Its name in the gateway, which depends on no other listener."""
        return names.listener(self.protocol, self.port, self.hostname)


@dataclass(frozen=True)
class Hosts:
    """Which host names an app has. `own` is what it answers to by itself, unless one of its domains is that name."""

    own: str | None
    is_shared: bool
    automatic: frozenset[str]


def hosts_of(app: str, network: NetworkSpec, config: KubernetesConfig) -> Hosts:
    """The host names of the app. Certificates for wildcards do not come by themselves: ACME gives them over DNS only
    (RFC 8555 section 8.4)."""
    listeners = (listener.hostname for gateway in network.gateways for listener in gateway.listeners)
    domains = (host for route in network.routes for host in route.hostnames)
    taken = {full_host(host, config.app_domain) for host in (*listeners, *domains) if host is not None}
    own = full_host(app, config.app_domain) if config.app_domain else None
    automatic = (full_host(host, config.app_domain) for host in network.auto_hostnames)
    return Hosts(
        own=None if own in taken else own,
        is_shared=config.app_domain is not None,
        automatic=frozenset(host for host in automatic if not host.startswith(WILDCARD)),
    )


def listeners_of(app: str, network: NetworkSpec, config: KubernetesConfig) -> tuple[Listener, ...]:
    """All listeners of all gateways of the app, by gateway, port, protocol and host name."""
    secrets = frozenset(certificate.secret for certificate in network.certificates)
    reader = _Reader(app, hosts_of(app, network, config), secrets, config)
    found = [own for gateway in network.gateways for spec in gateway.listeners for own in reader.read(gateway, spec)]
    found += reader.implied(found)
    return tuple(sorted(found, key=lambda each: (each.gateway, each.port, each.protocol, each.hostname or "")))


def is_covered(host: str, config: KubernetesConfig) -> bool:
    """Whether the operator's certificate is good for that name: one label below the domain of the apps."""
    if config.platform_certificate is None or config.app_domain is None:
        return False
    label, _, parent = host.partition(".")
    return label != WILDCARD and parent == config.app_domain.lower()


@dataclass(frozen=True)
class _Reader:
    """Turns the listeners of the spec into those of the cluster. `secrets` are the user's certificates in the spec."""

    app: str
    hosts: Hosts
    secrets: frozenset[str]
    config: KubernetesConfig

    def read(self, gateway: GatewaySpec, spec: ListenerSpec) -> Iterator[Listener]:
        """What becomes of a listener: itself, or nothing when it could never be."""
        listener = Listener(gateway.name, spec.port, spec.protocol)
        if spec.hostname is not None:
            host = full_host(spec.hostname, self.config.app_domain)
            certificate = self._certificate(host, spec)
            if spec.protocol != HTTPS or certificate is not None:
                yield replace(listener, hostname=host, certificate=certificate)
        elif spec.protocol != HTTP or not self.hosts.is_shared:
            yield listener
        elif self.hosts.own is not None:
            yield replace(listener, hostname=self.hosts.own)

    def implied(self, listeners: Iterable[Listener]) -> list[Listener]:
        """HTTPS of the default gateway for what answers on its port 80 and the operator has a certificate for."""
        own = [listener for listener in listeners if listener.gateway == names.gateway(self.app)]
        secure = [listener for listener in own if listener.port == HTTPS_PORT and listener.protocol != "UDP"]
        # A user may have taken the port for what does not go by host names, as TLS and HTTPS do.
        if any(listener.protocol == "TCP" for listener in secure):
            return []
        there = {listener.hostname for listener in secure}
        return [
            Listener(plain.gateway, HTTPS_PORT, HTTPS, plain.hostname, certificate, implied=True)
            for plain in own
            if (plain.protocol, plain.port) == (HTTP, HTTP_PORT) and plain.hostname and plain.hostname not in there
            if (certificate := self._platform_certificate(plain.hostname)) is not None
        ]

    def _certificate(self, host: str, spec: ListenerSpec) -> SecretRef | None:
        if spec.certificate is not None:
            if host in self.hosts.automatic:
                return SecretRef(names.certificate(self.app, host))
            if spec.certificate in self.secrets:
                return SecretRef(names.user_certificate(spec.certificate))
        return self._platform_certificate(host) if spec.protocol == HTTPS else None

    def _platform_certificate(self, host: str) -> SecretRef | None:
        secret = self.config.platform_certificate
        if secret is None or not is_covered(host, self.config):
            return None
        return SecretRef(secret.name, secret.namespace)
