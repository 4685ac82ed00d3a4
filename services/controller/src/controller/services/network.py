"""What the use cases about an app's network have in common."""

from __future__ import annotations

from controller.domain.apps import App
from controller.domain.gateways import HTTP, with_https, with_https_parent
from controller.domain.ingress import Gateway, IngressState
from controller.domain.render_network import render_network
from controller.engine.port import NotSupportedError
from controller.repositories.ingress import IngressRepository
from controller.services.base import AppService
from controller.uow import Uow

NO_GATEWAYS = (
    "this engine has one edge for all apps, and no services, gateways or routes of their own: "
    "`drycc domains add` leads a host name to a process type"
)


class NetworkService(AppService):
    """Use cases about services, gateways and routes; the lists of what is there are in no engine's way."""

    def __init__(self, uow: Uow) -> None:
        super().__init__(uow)
        self._network = IngressRepository(uow.session, uow.cipher)

    def _require_gateways(self) -> None:
        """Refuse changes that this engine could not make true.

        Raises:
            NotSupportedError: it cannot shape the network of an app.
        """
        engine = self._uow.engine
        if "gateways" not in engine.features:
            raise NotSupportedError(engine.why_not("gateways") or NO_GATEWAYS)

    async def _check_network(self, app: App) -> None:
        """Refuse what this transaction has added if the engine could not make the whole of it true.

        Raises:
            NotSupportedError: says what stands against it and what to do.
        """
        state = await self._network.read_with_keys(app)
        if state.gateway(app.name) is None:  # it comes with the first `web`, when nobody can be refused any more
            first = with_https(Gateway(0, app.name, app.owner.username, app.name, (HTTP,)), state)
            state = state.with_gateway(first)
        self._uow.engine.check_network(app.name, render_network(state))

    async def _follow_tls(self, app: App, state: IngressState) -> bool:
        """Bring 443 of the default gateway and its default route in line with the app's TLS; whether they were not."""
        now, before = self._uow.now(), state.gateway(app.name)
        gateway = None if before is None else with_https(before, state)
        if gateway is not None and gateway != before:
            await self._network.set_gateway(gateway, now=now)
        old = state.route(app.name)
        route = None if old is None else with_https_parent(old, gateway)
        if route is not None and route != old:
            await self._network.set_route(route, now=now)
        return gateway != before or route != old
