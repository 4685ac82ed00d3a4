"""What the use cases about an app's network have in common."""

from __future__ import annotations

from controller.domain.apps import App
from controller.domain.gateways import with_https, with_https_parent
from controller.domain.ingress import IngressState
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
        if "gateways" not in self._uow.engine.features:
            raise NotSupportedError(NO_GATEWAYS)

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
