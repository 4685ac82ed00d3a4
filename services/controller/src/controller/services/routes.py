"""Routes of apps: which requests of a gateway go to which service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from controller.domain.apps import Actor, App
from controller.domain.errors import ObjectNotFoundError
from controller.domain.gateways import HTTPS
from controller.domain.ingress import IngressState, Route, Rule, refuse_more
from controller.domain.page import Page
from controller.domain.routes import (
    NoBackendError,
    attach,
    audit_facts,
    check_backends,
    check_new_name,
    detach,
    live_rules,
    parse_parent,
    parse_route,
    parse_rules,
)
from controller.engine.port import NotSupportedError
from controller.services.network import NetworkService
from shared.errors import InvalidInputError
from shared.logging import get_logger

log = get_logger(__name__)


class Routes(NetworkService):
    """The routes of apps."""

    async def list(self, app: str, *, limit: int = 100, offset: int = 0) -> Page[Route]:
        """Some of them, newest first."""
        routes = (await self._network.read(await self._apps.get(app))).routes
        return Page(routes[offset : offset + limit], len(routes))

    async def rules(self, app: str, name: str) -> Sequence[Rule]:
        """The rules of a route.

        Raises:
            ObjectNotFoundError: there is none of that name.
        """
        return _get(await self._network.read(await self._apps.get(app)), name).rules

    async def create(self, app: str, body: Mapping[str, object], *, actor: Actor) -> Route:
        """A new route that is attached to nothing yet. Backends that the app does not have are left out.

        Raises:
            InvalidFieldsError: it is malformed, or the name is taken.
            NoBackendError: no backend is left.
            NotSupportedError: the engine has no routes, or none of that kind.
        """
        wanted = parse_route(body)
        self._require_gateways()
        if (problem := self._uow.engine.why_not(wanted.kind)) is not None:
            raise NotSupportedError(problem)
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        check_new_name(wanted.name, state.routes)
        refuse_more(state.routes, "routes")
        rules = live_rules(wanted.rules, app, state.services)
        if not rules:
            raise NoBackendError(wanted.name)
        settings = await self._settings.get(locked)
        route = await self._network.add_route(
            locked, replace(wanted, rules=rules), routable=settings.routable, owner=actor, now=self._uow.now()
        )
        await self._note(locked, "created", None, route, actor)
        return route

    async def replace_rules(self, app: str, name: str, rules: object, *, actor: Actor) -> None:
        """Give a route other rules.

        Raises:
            ObjectNotFoundError: there is no such route; NoBackendError: no backend is left.
            InvalidValueError, InvalidInputError: they are malformed, or lead to what the app does not have.
            NotSupportedError: the engine has no routes.
        """
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        route = _get(state, name)
        wanted = parse_rules(rules, route.kind)
        check_backends(wanted, app, state.services)
        kept = live_rules(wanted, app, state.services)
        if not kept:
            raise NoBackendError(name)
        await self._store(locked, "changed", route, replace(route, rules=kept), actor)

    async def attach(self, app: str, name: str, body: Mapping[str, object], *, actor: Actor) -> None:
        """Have a route take the requests of a port of a gateway.

        Raises:
            ObjectNotFoundError: there is no such route.
            InvalidFieldsError, InvalidValueError: the request is malformed.
            InvalidInputError: the route cannot be attached there.
            NotSupportedError: the engine has no routes.
        """
        parent = parse_parent(body)
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        route = _get(state, name)
        await self._store(locked, "attached", route, attach(route, parent, state), actor)
        await self._check_network(locked)

    async def detach(self, app: str, name: str, body: Mapping[str, object], *, actor: Actor) -> None:
        """Have a route no longer take the requests of a port of a gateway.

        Raises:
            ObjectNotFoundError: there is no such route.
            InvalidFieldsError, InvalidValueError: the request is malformed.
            InvalidInputError: the route is not attached there, or the platform sees to it.
            NotSupportedError: the engine has no routes.
        """
        parent = parse_parent(body)
        self._require_gateways()
        locked = await self._apps.lock(app)
        state = await self._network.read(locked)
        route = _get(state, name)
        changed = detach(route, parent)
        gateway = state.gateway(app)
        is_default = name == app and parent.gateway == app and parent.port == HTTPS.port
        if is_default and gateway is not None and HTTPS in gateway.ports:
            raise InvalidInputError(
                f"443/HTTPS of the gateway {app} leads to the route {app} as long as a domain has TLS: "
                "attach other routes to other ports"
            )
        await self._store(locked, "detached", route, changed, actor)

    async def delete(self, app: str, name: str, *, actor: Actor) -> None:
        """Remove a route.

        Raises:
            ObjectNotFoundError: there is none of that name.
            NotSupportedError: the engine has no routes.
        """
        self._require_gateways()
        locked = await self._apps.lock(app)
        route = _get(await self._network.read(locked), name)
        await self._network.delete_route(route)
        await self._note(locked, "removed", route, None, actor)

    async def _store(self, app: App, verb: str, before: Route, after: Route, actor: Actor) -> None:
        await self._network.set_route(after, now=self._uow.now())
        await self._note(app, verb, before, after, actor)

    async def _note(self, app: App, verb: str, before: Route | None, after: Route | None, actor: Actor) -> None:
        facts = [None if route is None else audit_facts(route) for route in (before, after)]
        name = next(route.name for route in (before, after) if route is not None)
        await self._changed(app)
        await self._record(app, f"route.{verb}", actor=actor, target=name, before=facts[0], after=facts[1])
        log.info("route_changed", app=app.name, route=name, change=verb, actor=actor.username)


def _get(state: IngressState, name: str) -> Route:
    route = state.route(name)
    if route is None:
        raise ObjectNotFoundError("Route")
    return route
