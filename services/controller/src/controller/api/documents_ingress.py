"""The JSON of services, gateways and routes (controller-api.md 3.15 to 3.17)."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypeAlias

from pydantic import Field
from typing_extensions import TypedDict

from controller.api.documents import Timestamp

PortNumber = Annotated[int, Field(ge=1, le=65535)]
PortText = Annotated[str, Field(pattern=r"^[0-9]+$")]
SentPort: TypeAlias = PortNumber | PortText
Rules: TypeAlias = list[dict[str, Any]]


class ServicePortDocument(TypedDict):
    """A port of a service; `name` is protocol and port in lower case."""

    name: str
    port: int
    protocol: str
    targetPort: int


class ServiceDocument(TypedDict):
    """What of a process type can be reached inside the platform, and under which name."""

    name: str
    domain: str
    ports: list[ServicePortDocument]
    ptype: str


class ServiceList(TypedDict):
    """All services of an app."""

    services: list[ServiceDocument]


class ServiceRequest(TypedDict):
    """A port of a process type and the port that it leads to; TCP unless it says otherwise."""

    ptype: str
    port: SentPort
    target_port: SentPort
    protocol: NotRequired[str | None]


class ServicePortRequest(TypedDict):
    """A port of a process type's service."""

    ptype: str
    port: SentPort
    protocol: NotRequired[str | None]


class AllowedRoutesDocument(TypedDict):
    """Which routes a listener takes."""

    namespaces: dict[str, str]


class SecretReference(TypedDict):
    """A secret with a key pair."""

    kind: str
    name: str


class ListenerTlsDocument(TypedDict):
    """What secures a listener."""

    certificateRefs: list[SecretReference]


class ListenerDocument(TypedDict):
    """A listener of a gateway; without `hostname` it takes every host."""

    allowedRoutes: AllowedRoutesDocument
    name: str
    port: int
    hostname: NotRequired[str]
    protocol: str
    tls: NotRequired[ListenerTlsDocument]


class AddressDocument(TypedDict):
    """Where a gateway can be reached: `type` is IPAddress or Hostname."""

    type: str
    value: str


class GatewayDocument(TypedDict):
    """Where requests come in."""

    app: str
    owner: str
    name: str
    listeners: list[ListenerDocument]
    addresses: list[AddressDocument]


class GatewayRequest(TypedDict):
    """A port of a gateway."""

    name: str
    port: SentPort
    protocol: str


class ParentDocument(TypedDict):
    """A gateway and one of its ports."""

    name: str
    port: int


class RouteDocument(TypedDict):
    """From ports of gateways to services."""

    id: int
    app: str
    owner: str
    kind: str
    name: str
    rules: Rules
    parent_refs: list[ParentDocument]
    created: Timestamp
    updated: Timestamp
    routable: bool


class RouteRequest(TypedDict):
    """A new route; its rules are those of the Gateway API."""

    name: str
    kind: str
    rules: NotRequired[Rules]


class ParentRequest(TypedDict):
    """The gateway and the port that a route is to be attached to, or detached from."""

    gateway: str
    port: SentPort


RulesRequest: TypeAlias = Rules | str
