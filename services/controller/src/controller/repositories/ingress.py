"""SQL of services, gateways and routes. The network of an app is read whole, in one query, and written row by row."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from sqlalchemy import delete, insert, update

from controller.domain.apps import Actor, App
from controller.domain.ingress import Gateway, GatewayPort, IngressState, Route, Service
from controller.domain.routes import NewRoute
from controller.domain.spec_network import ParentRef, ServicePort
from controller.domain.tls import Issuer, Tls
from controller.repositories.cipher import Cipher
from controller.repositories.domains import CertificateRepository
from controller.repositories.ingress_rows import NETWORK, READERS, gateway_ports, parent_refs_of, service_ports
from controller.schema.base import table_of
from controller.schema.ingress import GatewayRow, RouteRow, ServiceRow
from shared.db import DbSession

_Table = type[ServiceRow | GatewayRow | RouteRow]


class IngressRepository:
    """Networks of apps."""

    def __init__(self, session: DbSession, cipher: Cipher) -> None:
        self._session = session
        self._cipher = cipher

    async def read(self, app: App) -> IngressState:
        """All of it but the certificates, whose keys only the engine needs."""
        found: dict[str, list[Any]] = {what: [] for what in READERS}
        tls = None
        for row in await self._session.execute(NETWORK, {"app": app.uuid}):
            if row.what == "tls":
                tls = self._to_tls(app, row)
            else:
                found[row.what].append(READERS[row.what](app.name, row))
        return IngressState(
            services=tuple(found["service"]),
            gateways=tuple(found["gateway"]),
            routes=tuple(found["route"]),
            domains=tuple(sorted(found["domain"], key=lambda domain: domain.domain)),
            tls=tls,
        )

    async def read_with_keys(self, app: App) -> IngressState:
        """All of it, with the certificates that some domain has."""
        ingress = await self.read(app)
        if not any(domain.certificate for domain in ingress.domains):
            return ingress
        certificates = await CertificateRepository(self._session, self._cipher).list_all(app)
        return replace(ingress, certificates=certificates)

    async def add_service(
        self, app: App, ptype: str, ports: Iterable[ServicePort], *, owner: Actor, now: datetime
    ) -> Service:
        """A new service; the process type has none yet."""
        kept = tuple(ports)
        number = await self._add(ServiceRow, app, owner, now, ptype=ptype, ports=service_ports(kept))
        return Service(number, app.name, ptype, kept)

    async def set_service(self, service: Service, *, now: datetime) -> None:
        """Store the ports of a service, or delete one that has none left."""
        await self._set(ServiceRow, service.id, now, exists=bool(service.ports), ports=service_ports(service.ports))

    async def add_gateway(
        self, app: App, name: str, ports: Iterable[GatewayPort], *, owner: Actor, now: datetime
    ) -> Gateway:
        """A new gateway; the app has none of that name yet."""
        kept = tuple(ports)
        number = await self._add(GatewayRow, app, owner, now, name=name, ports=gateway_ports(kept))
        return Gateway(number, app.name, owner.username, name, kept)

    async def set_gateway(self, gateway: Gateway, *, now: datetime) -> None:
        """Store the ports of a gateway, or delete one that has none left."""
        await self._set(GatewayRow, gateway.id, now, exists=bool(gateway.ports), ports=gateway_ports(gateway.ports))

    async def add_route(
        self,
        app: App,
        route: NewRoute,
        *,
        parents: Iterable[ParentRef] = (),
        routable: bool,
        owner: Actor,
        now: datetime,
    ) -> Route:
        """A new route; the app has none of that name yet."""
        kept = tuple(parents)
        columns = {"kind": route.kind, "name": route.name, "rules": list(route.rules), "routable": routable}
        number = await self._add(RouteRow, app, owner, now, parent_refs=parent_refs_of(kept), **columns)
        return Route(
            number,
            app.name,
            owner.username,
            route.kind,
            route.name,
            route.rules,
            routable,
            kept,
            created=now,
            updated=now,
        )

    async def set_route(self, route: Route, *, now: datetime) -> None:
        """Store rules and parents of a route, or delete one that has no rules left."""
        columns = {"rules": list(route.rules), "parent_refs": parent_refs_of(route.parents)}
        await self._set(RouteRow, route.id, now, exists=bool(route.rules), **columns)

    async def set_routable(self, app: App, *, routable: bool, now: datetime) -> None:
        """Have all routes of the app carry requests, or none."""
        table = table_of(RouteRow)
        statement = update(table).where(table.c.app_uuid == app.uuid)
        await self._session.execute(statement.values(routable=routable, updated=now))

    async def delete_route(self, route: Route) -> None:
        """Remove it."""
        await self._delete(RouteRow, route.id)

    def _to_tls(self, app: App, row: Any) -> Tls:
        facts = row.facts
        issuer = Issuer(**cast("dict[str, str]", self._cipher.open(facts["sealed_issuer"])))
        return Tls(
            UUID(row.name),
            app.name,
            row.owner,
            issuer,
            facts["https_enforced"],
            facts["certs_auto_enabled"],
            row.created,
            row.updated,
        )

    async def _add(self, row: _Table, app: App, owner: Actor, now: datetime, **columns: Any) -> int:
        table = table_of(row)
        values = {"app_uuid": app.uuid, "owner_id": owner.id, "created": now, "updated": now, **columns}
        statement = insert(table).values(values).returning(table.c.id)
        return cast("int", (await self._session.execute(statement)).scalar_one())

    async def _set(self, row: _Table, number: int, now: datetime, *, exists: bool, **columns: Any) -> None:
        if not exists:
            await self._delete(row, number)
            return
        table = table_of(row)
        await self._session.execute(update(table).where(table.c.id == number).values(updated=now, **columns))

    async def _delete(self, row: _Table, number: int) -> None:
        table = table_of(row)
        await self._session.execute(delete(table).where(table.c.id == number))
