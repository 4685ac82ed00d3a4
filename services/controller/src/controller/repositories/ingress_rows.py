"""An app's network in one query, and its rows as values. The query gives rows of five tables in the same columns."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from sqlalchemy import JSON, ColumnElement, Select, Text, bindparam, desc, func, literal_column, select, union_all
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import InstrumentedAttribute

from controller.domain.domains import Domain
from controller.domain.ingress import Gateway, GatewayPort, Route, Service
from controller.domain.spec_network import ParentRef, ServicePort
from controller.schema.accounts import UserRow
from controller.schema.domains import CertificateRow, DomainRow, TlsRow
from controller.schema.ingress import GatewayRow, RouteRow, ServiceRow

_Row = type[ServiceRow | GatewayRow | RouteRow | DomainRow | TlsRow]
_Column = InstrumentedAttribute[Any]


def _part(what: str, row: _Row, name: ColumnElement[Any] | _Column, **facts: _Column) -> Select[Any]:
    """The rows of one table in the columns that all have; what is their own is an object (JSON keeps its order)."""
    pairs: list[Any] = []
    for key, column in facts.items():
        pairs += [literal_column(f"'{key}'"), column]
    return (
        select(
            literal_column(f"'{what}'").label("what"),
            (literal_column("0") if row is TlsRow else row.__table__.c.id).label("id"),
            UserRow.username.label("owner"),
            row.created.label("created"),
            row.updated.label("updated"),
            name.label("name"),
            func.json_build_object(*pairs, type_=JSON).label("facts"),
        )
        .join_from(row, UserRow, UserRow.id == row.owner_id)
        .where(row.app_uuid == bindparam("app"))
    )


def service_ports(ports: Iterable[ServicePort]) -> list[dict[str, Any]]:
    """The column that holds the ports of a service."""
    return [{"port": own.port, "protocol": own.protocol, "target_port": own.target_port} for own in ports]


def gateway_ports(ports: Iterable[GatewayPort]) -> list[dict[str, Any]]:
    """The column that holds the ports of a gateway."""
    return [{"port": own.port, "protocol": own.protocol} for own in ports]


def parent_refs_of(parents: Iterable[ParentRef]) -> list[dict[str, Any]]:
    """The column that holds where a route is attached."""
    return [{"name": parent.gateway, "port": parent.port} for parent in parents]


def _service(app: str, row: Any) -> Service:
    ports = tuple(ServicePort(**port) for port in row.facts["ports"])
    return Service(row.id, app, row.name, ports)


def _gateway(app: str, row: Any) -> Gateway:
    ports = tuple(GatewayPort(**port) for port in row.facts["ports"])
    return Gateway(row.id, app, row.owner, row.name, ports)


def _route(app: str, row: Any) -> Route:
    facts = row.facts
    return Route(
        id=row.id,
        app=app,
        owner=row.owner,
        kind=facts["kind"],
        name=row.name,
        rules=tuple(facts["rules"]),
        routable=facts["routable"],
        parents=tuple(ParentRef(parent["name"], parent["port"]) for parent in facts["parent_refs"]),
        created=row.created,
        updated=row.updated,
    )


def _domain(app: str, row: Any) -> Domain:
    facts = row.facts
    return Domain(
        row.id, app, row.owner, row.name, facts["sent"], facts["ptype"], facts["certificate"], row.created, row.updated
    )


READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "service": _service,
    "gateway": _gateway,
    "route": _route,
    "domain": _domain,
}
"""What makes a value of a row of the query, given the name of the app, by what the row is."""

_DOMAINS = _part(
    "domain", DomainRow, DomainRow.domain, sent=DomainRow.sent, ptype=DomainRow.ptype, certificate=CertificateRow.name
)
NETWORK = union_all(
    _part("service", ServiceRow, ServiceRow.ptype, ports=ServiceRow.ports),
    _part("gateway", GatewayRow, GatewayRow.name, ports=GatewayRow.ports),
    _part(
        "route",
        RouteRow,
        RouteRow.name,
        kind=RouteRow.kind,
        rules=RouteRow.rules,
        routable=RouteRow.routable,
        parent_refs=RouteRow.parent_refs,
    ),
    _DOMAINS.outerjoin(CertificateRow, CertificateRow.id == DomainRow.certificate_id),
    _part(
        "tls",
        TlsRow,
        sql_cast(TlsRow.uuid, Text),
        sealed_issuer=TlsRow.sealed_issuer,
        https_enforced=TlsRow.https_enforced,
        certs_auto_enabled=TlsRow.certs_auto_enabled,
    ),
).order_by(desc("created"), desc("id"))
"""Everything of one app (`app`, its key), newest first. Rows of `tls` have the UUID as their name."""
