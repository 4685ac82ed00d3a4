"""The network part of what the engine is told: services, gateways, routes, certificates. Plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class ServicePort:
    """A port of a service; `protocol` is TCP, UDP or SCTP."""

    port: int
    protocol: str
    target_port: int

    @property
    def name(self) -> str:
        """The name that clients and the cluster know it by."""
        return f"{self.protocol}-{self.port}".lower()


@dataclass(frozen=True)
class ServiceSpec:
    """What of a process type can be reached inside the platform."""

    name: str
    ptype: str
    ports: tuple[ServicePort, ...]


@dataclass(frozen=True)
class ListenerSpec:
    """One listener of a gateway. `hostname` None takes every name; `certificate` is the name of the secret with the
    key pair, None without TLS."""

    name: str
    port: int
    protocol: str
    hostname: str | None = None
    certificate: str | None = None


@dataclass(frozen=True)
class GatewaySpec:
    """Where requests come in. Without listeners it is not to be there."""

    name: str
    listeners: tuple[ListenerSpec, ...]


@dataclass(frozen=True)
class ParentRef:
    """A gateway and one of its ports."""

    gateway: str
    port: int


@dataclass(frozen=True)
class IngressRouteSpec:
    """From ports of gateways to services. `rules` are those of the Gateway API, as the user wrote them. `hostnames`
    are the domains of the process types that it leads to; with `redirect_hostnames` plain HTTP for those names is
    answered with a redirect to HTTPS. `https_enforced`: the same for other names that turn out to have TLS, which are
    those that the operator has a certificate for."""

    name: str
    kind: str
    parents: tuple[ParentRef, ...]
    hostnames: tuple[str, ...]
    rules: tuple[Mapping[str, object], ...]
    redirect_hostnames: tuple[str, ...] = ()
    https_enforced: bool = False


@dataclass(frozen=True)
class CertificateSpec:
    """A user's own key pair, PEM, and the name of the secret that holds it."""

    secret: str
    certificate: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class IssuerSpec:
    """The ACME account that automatic certificates come from; the key is for servers that bind accounts."""

    email: str
    server: str
    key_id: str = ""
    key_secret: str = field(default="", repr=False)


@dataclass(frozen=True)
class NetworkSpec:
    """All of it. `auto_hostnames`: the names for which a certificate is to be got from the issuer."""

    services: tuple[ServiceSpec, ...] = ()
    gateways: tuple[GatewaySpec, ...] = ()
    routes: tuple[IngressRouteSpec, ...] = ()
    certificates: tuple[CertificateSpec, ...] = ()
    issuer: IssuerSpec | None = None
    auto_hostnames: tuple[str, ...] = ()


@dataclass(frozen=True)
class Address:
    """Where a gateway can be reached: `type` is IPAddress or Hostname."""

    type: str
    value: str


@dataclass(frozen=True)
class TlsEvent:
    """A condition of an issuer or a certificate, as the cluster tells it; all texts."""

    name: str
    kind: str
    time: str
    type: str
    status: str
    message: str


@dataclass(frozen=True)
class NetworkObservation:
    """What the engine sees: the addresses of each gateway, and how TLS fares."""

    addresses: Mapping[str, tuple[Address, ...]] = field(default_factory=dict)
    tls_events: tuple[TlsEvent, ...] = ()
