"""Gateways of apps: the ports on which requests come in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.gateways import (
    add_port,
    is_automatic,
    listeners_of,
    parse_gateway_port,
    remove_port,
)
from controller.domain.ingress import Gateway, IngressState, refuse_more, refuse_more_ports
from controller.domain.page import Page
from controller.domain.spec_network import ListenerSpec
from controller.services.network import NetworkService
from shared.errors import InvalidInputError
from shared.logging import get_logger

log = get_logger(__name__)


@dataclass(frozen=True)
class GatewayView:
    """A gateway and the listeners that its ports and the app's domains make."""

    gateway: Gateway
    listeners: tuple[ListenerSpec, ...]


class Gateways(NetworkService):
    """The gateways of apps."""

    async def list(self, app: str, *, limit: int = 100, offset: int = 0) -> Page[GatewayView]:
        """Some of them, newest first."""
        state = await self._network.read(await self._apps.get(app))
        views = [
            GatewayView(gateway, listeners_of(gateway, state)) for gateway in state.gateways[offset : offset + limit]
        ]
        return Page(tuple(views), len(state.gateways))

    async def add_port(self, app: str, body: Mapping[str, object], *, actor: Actor) -> None:
        """Have a gateway listen on one more port; a gateway of a new name is made, and belongs to the app's owner.

        Raises:
            InvalidFieldsError, InvalidValueError: the request is malformed.
            InvalidInputError: the port is taken, or not the user's to add.
            NotSupportedError: the engine has no gateways, or none that can have so many listeners.
        """
        name, port = parse_gateway_port(app, body)
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        gateway = state.gateway(name)
        ports = add_port(() if gateway is None else gateway.ports, port)
        if is_automatic(app, name, port) and not state.has_tls:
            raise InvalidInputError(
                f"443/HTTPS of the gateway {app} comes by itself with TLS: attach a certificate to a domain, "
                "or get one with `drycc tls auto enable`"
            )
        now = self._uow.now()
        if gateway is None:
            refuse_more(state.gateways, "gateways")
            changed = await self._network.add_gateway(locked, name, ports, owner=locked.owner, now=now)
        else:
            refuse_more_ports(gateway.ports, "gateway")
            changed = replace(gateway, ports=ports)
            await self._network.set_gateway(changed, now=now)
        await self._note(locked, state, gateway, changed, actor)
        await self._check_network(locked)

    async def remove_port(self, app: str, body: Mapping[str, object], *, actor: Actor) -> None:
        """Have a gateway no longer listen on a port; it goes with its last one.

        Raises:
            InvalidFieldsError, InvalidValueError: the request is malformed.
            ObjectNotFoundError: there is no gateway of that name.
            InvalidInputError: it does not listen there, or the port is not the user's to remove.
            NotSupportedError: the engine has no gateways.
        """
        name, port = parse_gateway_port(app, body)
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        gateway = state.gateway(name)
        if gateway is None:
            raise ObjectNotFoundError("Gateway")
        changed = replace(gateway, ports=remove_port(gateway.ports, port))
        if is_automatic(app, name, port) and state.has_tls:
            raise InvalidInputError(
                f"443/HTTPS of the gateway {app} stays as long as a domain has TLS: detach the certificates, "
                "and run `drycc tls auto disable`"
            )
        await self._network.set_gateway(changed, now=self._uow.now())
        await self._note(locked, state, gateway, changed, actor)

    async def _note(self, app: App, state: IngressState, before: Gateway | None, after: Gateway, actor: Actor) -> None:
        await self._follow_tls(app, state.with_gateway(after))
        await self._changed(app)
        verb = "created" if before is None else "changed" if after.ports else "removed"
        await self._record(
            app,
            f"gateway.{verb}",
            actor=actor,
            target=after.name,
            before=None if before is None else _facts(before),
            after=_facts(after) if after.ports else None,
        )
        log.info("gateway_changed", app=app.name, gateway=after.name, change=verb, actor=actor.username)


def _facts(gateway: Gateway) -> dict[str, object]:
    return {"ports": [f"{own.port}/{own.protocol}" for own in gateway.ports]}
