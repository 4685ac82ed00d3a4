"""What an app's network does by itself (controller-api.md 4.21): the way in to `web`, and 443 where there is TLS."""

from __future__ import annotations

from dataclasses import replace

from controller.domain.apps import App
from controller.domain.gateways import HTTP
from controller.domain.ingress import IngressState, add_service_port
from controller.domain.names import WEB
from controller.domain.routes import NewRoute, default_rules
from controller.domain.spec_network import ParentRef, ServicePort
from controller.services.network import NetworkService
from shared.logging import get_logger

log = get_logger(__name__)


class Ingress(NetworkService):
    """Keeps the default service, gateway and route as they have to be. The caller holds the app's lock and tells the
    reconciler of the change that it makes itself."""

    async def extend(self, app: App) -> None:
        """The same as `refresh` for a change that makes the network larger.

        Raises:
            NotSupportedError: it is larger than the engine can have it.
        """
        await self.refresh(app)
        await self._check_network(app)

    async def refresh(self, app: App) -> None:
        """Domains, certificates or TLS settings of the app have changed."""
        if await self._follow_tls(app, await self._network.read(app)):
            log.info("ingress_refreshed", app=app.name)

    async def follow_web(self, app: App, port: int) -> None:
        """`web` is deployed and listens on `port`: it gets a service, a gateway and a route where one is missing."""
        state = await self._network.read(app)
        await self._lead_to(app, state, port)
        if state.gateway(app.name) is None or state.route(app.name) is None:
            await self._open(app, state)
            log.info("ingress_opened", app=app.name)

    async def set_routable(self, app: App, *, routable: bool) -> None:
        """Have the app's routes carry requests, or none of them."""
        await self._network.set_routable(app, routable=routable, now=self._uow.now())

    async def _lead_to(self, app: App, state: IngressState, port: int) -> None:
        now, http = self._uow.now(), ServicePort(HTTP.port, "TCP", port)
        service = state.service(WEB)
        if service is None:
            await self._network.add_service(app, WEB, (http,), owner=app.owner, now=now)
            return
        known = next((own for own in service.ports if own.port == http.port), None)
        if known is None:
            ports = add_service_port(service.ports, http)
        elif known.protocol == http.protocol and known.target_port != port:
            ports = tuple(http if own == known else own for own in service.ports)
        else:
            return
        await self._network.set_service(replace(service, ports=ports), now=now)

    async def _open(self, app: App, state: IngressState) -> None:
        now = self._uow.now()
        gateway = state.gateway(app.name)
        if gateway is None:
            gateway = await self._network.add_gateway(app, app.name, (HTTP,), owner=app.owner, now=now)
            state = state.with_gateway(gateway)
        if state.route(app.name) is None:
            settings = await self._settings.get(app)
            route = await self._network.add_route(
                app,
                NewRoute(app.name, "HTTPRoute", default_rules(app.name)),
                parents=(ParentRef(app.name, HTTP.port),) if HTTP in gateway.ports else (),
                routable=settings.routable,
                owner=app.owner,
                now=now,
            )
            state = state.with_route(route)
        await self._follow_tls(app, state)
