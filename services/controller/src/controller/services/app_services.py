"""Services of apps: which ports of a process type can be reached inside the platform."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.ingress import (
    IngressState,
    Service,
    add_service_port,
    check_service_name,
    parse_service_port,
    port_number,
    refuse_more,
    refuse_more_ports,
)
from controller.domain.routes import audit_facts, live_rules
from controller.domain.spec_network import ServicePort
from controller.services.network import NetworkService
from shared.logging import get_logger

log = get_logger(__name__)


class Services(NetworkService):
    """The services of apps, one for each process type that has any."""

    async def list(self, app: str) -> Sequence[Service]:
        """All of them, newest first."""
        return (await self._network.read(await self._apps.get(app))).services

    async def add_port(self, app: str, body: Mapping[str, object], *, actor: Actor) -> bool:
        """Open a port of a process type; whether that made its service.

        Raises:
            InvalidFieldsError, InvalidValueError: the request is malformed.
            InvalidInputError: the port is taken.
            NotSupportedError: the engine has no services.
        """
        request = parse_service_port(body)
        port = ServicePort(request.port, request.protocol, port_number(body.get("target_port")))
        check_service_name(app, request.ptype)
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        service, now = state.service(request.ptype), self._uow.now()
        if service is None:
            refuse_more(state.services, "services")
            changed = await self._network.add_service(locked, request.ptype, (port,), owner=actor, now=now)
        else:
            ports = add_service_port(service.ports, port)
            refuse_more_ports(service.ports, "service")
            changed = replace(service, ports=ports)
            await self._network.set_service(changed, now=now)
        await self._note(locked, service, changed, actor=actor)
        return service is None

    async def remove_port(self, app: str, body: Mapping[str, object], *, actor: Actor) -> None:
        """Close a port; one that is not open is closed already. The service goes with its last port, and routes lose
        the backends that are gone: one that has none left goes as well.

        Raises:
            InvalidFieldsError, InvalidValueError: the request is malformed.
            ObjectNotFoundError: the process type has no service.
            NotSupportedError: the engine has no services.
        """
        request = parse_service_port(body)
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        service = state.service(request.ptype)
        if service is None:
            raise ObjectNotFoundError("Service")
        kept = tuple(own for own in service.ports if (own.port, own.protocol) != (request.port, request.protocol))
        if kept == service.ports:
            return
        changed = replace(service, ports=kept)
        await self._network.set_service(changed, now=self._uow.now())
        others = tuple(own for own in state.services if own != service)
        await self._prune(locked, replace(state, services=(changed, *others)), actor)
        await self._note(locked, service, changed, actor=actor)

    async def _prune(self, app: App, state: IngressState, actor: Actor) -> None:
        for route in state.routes:
            rules = live_rules(route.rules, app.name, state.services)
            if rules != route.rules:
                await self._network.set_route(replace(route, rules=rules), now=self._uow.now())
                left = replace(route, rules=rules)
                await self._record(
                    app,
                    "route.changed" if rules else "route.removed",
                    actor=actor,
                    target=route.name,
                    before=audit_facts(route),
                    after=audit_facts(left) if rules else None,
                )

    async def _note(self, app: App, before: Service | None, after: Service, *, actor: Actor) -> None:
        verb = "created" if before is None else "changed" if after.ports else "removed"
        await self._changed(app)
        await self._record(
            app,
            f"service.{verb}",
            actor=actor,
            target=after.name,
            before=_facts(before),
            after=_facts(after) if after.ports else None,
        )
        log.info("service_changed", app=app.name, service=after.name, change=verb, actor=actor.username)


def _facts(service: Service | None) -> dict[str, object] | None:
    if service is None:
        return None
    return {"ports": [f"{own.port}:{own.target_port}/{own.protocol}" for own in service.ports]}
